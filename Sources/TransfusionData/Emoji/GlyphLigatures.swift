/// The ligatures of a font's GSUB table: which glyph stands for a sequence of glyphs.
///
/// Emoji sequences (flags, families, skin tones) are plain ligatures, so this is all the shaping they need.
///
/// ### References
/// OpenType specification, GSUB, lookup types 4 (ligature) and 7 (extension).
struct GlyphLigatures {
    private var sequences: [[UInt32]: UInt32] = [:]
    private let table: [UInt8]
    /// How many more records are read. A sound table has fewer records than bytes; a damaged one may refer to itself over and
    /// over.
    private var budget: Int

    init(_ table: [UInt8]) {
        self.table = table
        budget = table.count
        // Header: version (4 bytes), offsets of the script, feature and lookup lists.
        guard let lookupList = offset(at: 8, from: 0), let lookups = number(lookupList) else { return }
        for lookup in 0..<lookups where budget > 0 {
            budget -= 1
            guard let start = offset(at: lookupList + 2 + 2 * lookup, from: lookupList), let type = number(start),
                let subtables = number(start + 4)
            else { continue }
            for subtable in 0..<subtables where budget > 0 {
                budget -= 1
                guard var place = offset(at: start + 6 + 2 * subtable, from: start) else { continue }
                var kind = type
                if type == 7, let extended = number(place + 2), let high = number(place + 4),
                    let low = number(place + 6)
                {
                    kind = extended
                    place += high << 16 | low
                }
                if kind == 4 { addLigatures(ofSubtable: place) }
            }
        }
    }

    func glyph(for sequence: [UInt32]) -> UInt32? { sequences[sequence] }

    private mutating func addLigatures(ofSubtable start: Int) {
        guard number(start) == 1, let coverage = offset(at: start + 2, from: start), let sets = number(start + 4) else {
            return
        }
        for (index, first) in coveredGlyphs(coverage, limit: sets).enumerated() {
            guard let set = offset(at: start + 6 + 2 * index, from: start), let count = number(set) else { continue }
            for ligature in 0..<count where budget > 0 {
                budget -= 1
                guard let place = offset(at: set + 2 + 2 * ligature, from: set), let glyph = number(place),
                    let components = number(place + 2), components > 0
                else { continue }
                budget -= components
                let rest = (0..<components - 1).compactMap { number(place + 4 + 2 * $0) }
                guard rest.count == components - 1 else { continue }
                // The first lookup that knows a sequence decides, as in shaping.
                sequences[[UInt32(first)] + rest.map(UInt32.init), default: UInt32(glyph)] += 0
            }
        }
    }

    /// The glyphs of a coverage table in their order, as many as there are ligature sets for.
    private mutating func coveredGlyphs(_ start: Int, limit: Int) -> [Int] {
        guard let format = number(start), let count = number(start + 2) else { return [] }
        budget -= min(count, limit)
        if format == 1 { return (0..<min(count, limit)).compactMap { number(start + 4 + 2 * $0) } }
        var glyphs: [Int] = []
        for range in 0..<count where glyphs.count < limit {
            let place = start + 4 + 6 * range
            guard let first = number(place), let last = number(place + 2), first <= last else { break }
            glyphs += first...last
        }
        return Array(glyphs.prefix(limit))
    }

    /// The 16-bit number at a place, nil outside the table.
    private func number(_ place: Int) -> Int? {
        guard place >= 0, place + 2 <= table.count else { return nil }
        return Int(table[place]) << 8 | Int(table[place + 1])
    }

    private func offset(at place: Int, from base: Int) -> Int? { number(place).map { base + $0 } }
}
