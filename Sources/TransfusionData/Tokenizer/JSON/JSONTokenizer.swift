internal import Foundation

/// Text to token ids and back by a `tokenizer.json`, exactly as the library `tokenizers` does it without its template.
final class JSONTokenizer: TokenizerModel {
    let beginOfText: Int32
    let endOfText: Int32
    let beginOfImage: Int32
    let endOfImage: Int32
    let vocabulary: Int

    /// The text of each id; empty for one that has none.
    private let tokens: [[UInt8]]
    private let specials: Set<Int32>
    /// Those that are found before normalisation, and those that are found after it.
    private let added: (plain: AddedTokens, normalized: AddedTokens)
    private let composes: Bool
    private let putsSpace: Bool
    /// Whether spaces stand for U+2581 already when normalised tokens are looked for.
    private let escapesSpaces: Bool
    private let preTokenizer: PreTokenizer
    private let encoder: JSONWordEncoder
    private let decoder: TokenDecoder
    private let caches = WordCaches()

    init(_ contents: [UInt8], name: String) throws(DataError) {
        let description = try TokenizerDescription(contents, name: name)
        do throws(TokenizerDescription.Refusal) {
            let isOfBytes = try Self.isOfBytes(description)
            encoder = try JSONWordEncoder(description, isOfBytes: isOfBytes)
            var table = try TokenTable(description)
            (beginOfText, endOfText) = try table.textMarkers(description)
            (beginOfImage, endOfImage) = table.takeImageMarkers()
            var texts = table.tokens
            for token in description.addedTokens where token.isNormalized {
                texts[Int(token.id)] = Self.normalizedText(token.content, description.normalizers)
            }
            tokens = texts
            specials = table.specials.union([beginOfText, endOfText, beginOfImage, endOfImage])
        } catch {
            throw DataError(name, error.description)
        }
        vocabulary = tokens.count
        preTokenizer = description.preTokenizer
        composes = description.normalizers.contains(.composition)
        putsSpace = description.normalizers.contains(.space)
        escapesSpaces = description.normalizers.contains(.escapedSpaces)
        decoder = TokenDecoder(steps: description.decoder)
        var (plain, normalized) = (AddedTokens(), AddedTokens())
        for (id, text) in [
            (beginOfImage, Tokenizer.beginOfImageText), (endOfImage, Tokenizer.endOfImageText),
        ] {
            let token = AddedTokens.Token(
                id: id, isSpecial: true, isSingleWord: false, takesSpaceBefore: false, takesSpaceAfter: false)
            plain.add(token, content: [UInt8](text.utf8))
        }
        for token in description.addedTokens {
            let entry = AddedTokens.Token(
                id: token.id, isSpecial: token.isSpecial, isSingleWord: token.isSingleWord,
                takesSpaceBefore: token.takesSpaceBefore, takesSpaceAfter: token.takesSpaceAfter)
            if token.isNormalized {
                let content = Self.normalize(token.content, composes, escapesSpaces, putsSpace)
                normalized.add(entry, content: content)
            } else {
                plain.add(entry, content: token.content)
            }
        }
        added = (plain, normalized)
    }

    /// Whether words are encoded as bytes; refuses normalizers that do not go with the cutting of words.
    private static func isOfBytes(_ description: TokenizerDescription) throws(TokenizerDescription.Refusal) -> Bool {
        let escapes = description.normalizers.contains { $0 != .composition }
        switch description.preTokenizer {
        case .bytes:
            guard !escapes else { throw .init("its normalizer writes spaces as U+2581 before a ByteLevel") }
            return true
        case .metaspace:
            guard !escapes else { throw .init("its normalizer and its pre_tokenizer both write spaces as U+2581") }
        case .none:
            guard description.normalizers.contains(.escapedSpaces) else {
                throw .init("it has no pre_tokenizer, and no normalizer that writes spaces as U+2581")
            }
        }
        guard !description.ignoresMerges else { throw .init("its model has ignore_merges without a ByteLevel") }
        return false
    }

    // MARK: Encoding

    func encode(_ text: UnsafeBufferPointer<UInt8>, parseSpecials: Bool) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(text.count / 3)
        caches.with { cache in
            guard parseSpecials || added.plain.hasOrdinary else {
                return encodeStretch(text, 0..<text.count, parseSpecials: parseSpecials, &ids, &cache)
            }
            added.plain.parts(of: text, parsesSpecials: parseSpecials, spaceIsText: false) { part in
                switch part {
                case .token(let id): ids.append(id)
                case .text(let range): encodeStretch(text, range, parseSpecials: parseSpecials, &ids, &cache)
                }
            }
        }
        return ids
    }

    /// What lies between tokens that are found before normalisation.
    private func encodeStretch(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, parseSpecials: Bool, _ ids: inout [Int32],
        _ cache: inout WordCache
    ) {
        let stretch = UnsafeBufferPointer(rebasing: text[range])
        let isFirst = range.lowerBound == 0
        guard putsSpace || Self.changes(stretch, composes, escapesSpaces) else {
            return encodeNormalized(stretch, isFirst: isFirst, parseSpecials: parseSpecials, &ids, &cache)
        }
        Self.normalize([UInt8](stretch), composes, escapesSpaces, putsSpace).withUnsafeBufferPointer {
            encodeNormalized($0, isFirst: isFirst, parseSpecials: parseSpecials, &ids, &cache)
        }
    }

    private func encodeNormalized(
        _ text: UnsafeBufferPointer<UInt8>, isFirst: Bool, parseSpecials: Bool, _ ids: inout [Int32],
        _ cache: inout WordCache
    ) {
        guard parseSpecials ? !added.normalized.isEmpty : added.normalized.hasOrdinary else {
            return encodeText(text, isFirst: isFirst, &ids, &cache)
        }
        added.normalized.parts(of: text, parsesSpecials: parseSpecials, spaceIsText: escapesSpaces) { part in
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                encodeText(
                    UnsafeBufferPointer(rebasing: text[range]), isFirst: isFirst && range.lowerBound == 0, &ids, &cache)
            }
        }
    }

    /// Text without added tokens.
    private func encodeText(
        _ text: UnsafeBufferPointer<UInt8>, isFirst: Bool, _ ids: inout [Int32], _ cache: inout WordCache
    ) {
        guard !text.isEmpty else { return }
        switch preTokenizer {
        case .bytes(let pattern, let putsSpaceBeforeText):
            guard putsSpaceBeforeText, text[0] != 0x20 else { return encodeWords(text, pattern, &ids, &cache) }
            ([0x20] + text).withUnsafeBufferPointer { encodeWords($0, pattern, &ids, &cache) }
        case .none: encodeLetters(text, &ids, &cache)
        case .metaspace(let prefix, _):
            var plain = Self.withSpaces([UInt8](text))
            if prefix == .always || (prefix == .first && isFirst), plain.first != 0x20 { plain.insert(0x20, at: 0) }
            plain.withUnsafeBufferPointer { encodeLetters($0, &ids, &cache) }
        }
    }

    private func encodeWords(
        _ text: UnsafeBufferPointer<UInt8>, _ pattern: WordPattern, _ ids: inout [Int32], _ cache: inout WordCache
    ) {
        var scanner = WordScanner(text, pattern)
        let encode = encoder.encode
        var start = 0
        while start < text.count {
            let end = scanner.endOfWord(from: start)
            cache.append(text, start..<end, to: &ids, encode: encode)
            start = end
        }
    }

    private func encodeLetters(_ text: UnsafeBufferPointer<UInt8>, _ ids: inout [Int32], _ cache: inout WordCache) {
        let encode = encoder.encode
        var start = 0
        while start < text.count {
            let end = encoder.boundaries.endOfWord(text, from: start)
            cache.append(text, start..<end, to: &ids, encode: encode)
            start = end
        }
    }

    // MARK: Normalisation

    /// Whether normalisation may change a text, apart from the space that it may put before it.
    private static func changes(_ text: UnsafeBufferPointer<UInt8>, _ composes: Bool, _ escapesSpaces: Bool) -> Bool {
        (composes && !String.isComposed(text)) || (escapesSpaces && text.contains(0xE2))
    }

    /// Text after the normalizers, in which spaces stand for U+2581 where they are escaped.
    private static func normalize(
        _ text: [UInt8], _ composes: Bool, _ escapesSpaces: Bool, _ putsSpace: Bool
    ) -> [UInt8] {
        var text = text
        if composes {
            text = [UInt8](String(decoding: text, as: UTF8.self).canonicallyComposed.utf8)
        }
        if escapesSpaces { text = withSpaces(text) }
        return putsSpace && !text.isEmpty ? [0x20] + text : text
    }

    /// An added token as it is found in normalised text, which is what it is decoded to.
    private static func normalizedText(_ content: [UInt8], _ normalizers: [Normalizer]) -> [UInt8] {
        let escapes = normalizers.contains(.escapedSpaces)
        let text = normalize(content, normalizers.contains(.composition), escapes, normalizers.contains(.space))
        return escapes ? text.flatMap { $0 == 0x20 ? [UInt8](Normalizer.spaceSign.utf8) : [$0] } : text
    }

    /// Text with a space in place of each U+2581, from which it is told apart no more.
    private static func withSpaces(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(0xE2) else { return text }
        let sign = [UInt8](Normalizer.spaceSign.utf8)
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            if text[place] == sign[0], text[place...].starts(with: sign) {
                plain.append(0x20)
                place += sign.count
            } else {
                plain.append(text[place])
                place += 1
            }
        }
        return plain
    }

    // MARK: Decoding

    func decode(_ ids: [Int32]) -> String {
        decoder.text(of: ids.lazy.map { self.tokens[Int($0)] }.filter { !$0.isEmpty })
    }

    func isSpecial(_ id: Int32) -> Bool { specials.contains(id) }

    func piece(_ id: Int32) -> String { String(decoding: tokens[Int(id)], as: UTF8.self) }
}
