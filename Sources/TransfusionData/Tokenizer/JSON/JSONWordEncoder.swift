/// The byte-pair encoding of a `tokenizer.json`, word by word.
///
/// A class, as each call for a word would count the references to all tables of a struct.
final class JSONWordEncoder: Sendable {
    private let merges: BytePairMerges
    /// For letters: the id of each character, -1 where there is none. For bytes: the id of each byte.
    private let symbols: [Int32]
    /// Whether symbols are bytes, written in letters that stand for them, or characters.
    private let isOfBytes: Bool
    /// The ids of the tokens `<0x00>` … `<0xFF>`, which stand for characters without a token; -1 where there is none.
    private let bytes: [Int32]
    private let unknown: Int32?
    private let fusesUnknown: Bool
    /// The tokens by their bytes, where a word that is one is not put together by merges.
    private let whole: (table: WordTable, ids: [Int32])?
    /// Where text of characters can be cut.
    let boundaries: WordBoundaries

    private static let space = 0x20
    private static let spaceSign = 0x2581

    init(_ description: TokenizerDescription, isOfBytes: Bool) throws(TokenizerDescription.Refusal) {
        self.isOfBytes = isOfBytes
        var table = WordTable()
        var ids: [Int32] = []
        for (text, id) in description.vocabulary {
            // Of equal keys the last counts, as in Python.
            let number = text.withUnsafeBufferPointer { table.add($0) }
            if number < ids.count { ids[number] = id } else { ids.append(id) }
        }
        func id(_ text: [UInt8]) -> Int32? { text.withUnsafeBufferPointer { table.number(of: $0) }.map { ids[$0] } }

        let bytes = description.fallsBackToBytes ? (0..<256).map { id([UInt8](Self.byteName($0).utf8)) ?? -1 } : []
        symbols =
            isOfBytes ? ByteAlphabet.letters.map { id([UInt8](String($0).utf8)) ?? -1 } : Self.characters(table, ids)
        unknown = description.unknownToken.flatMap { id($0) }
        if let name = description.unknownToken, unknown == nil {
            throw .init("its vocabulary has no \(String(decoding: name, as: UTF8.self)), which is its unk_token")
        }
        fusesUnknown = description.fusesUnknown
        self.bytes = bytes
        let hasAllBytes = !bytes.isEmpty && (0..<256).allSatisfy { !ByteAlphabet.isOfUTF8($0) || bytes[$0] >= 0 }
        try Self.checkLosses(isOfBytes, symbols, hasAllBytes: hasAllBytes, unknown)

        var merges: [BytePairMerges.Merge] = []
        merges.reserveCapacity(description.merges.count)
        var boundaries = WordBoundaries()
        let nameless = Set(bytes + (unknown.map { [$0] } ?? []))
        // Of equal merges the last counts.
        for (rank, merge) in description.merges.enumerated().reversed() {
            let text = merge.left + merge.right
            guard let left = id(merge.left), let right = id(merge.right), let result = id(text) else {
                throw .init("its merge of \(Self.shown(merge.left)) and \(Self.shown(merge.right)) has no token for it")
            }
            merges.append(.init(left: left, right: right, result: result, rank: Int32(rank)))
            guard !isOfBytes else { continue }
            boundaries.add(text[...])
            // The text of these is not what they stand for.
            if nameless.contains(left) || nameless.contains(right) { boundaries.joinAll() }
        }
        self.merges = BytePairMerges(merges)
        if !isOfBytes, !hasAllBytes { Self.joinUnknown(&boundaries, symbols) }
        if case .metaspace(_, cuts: true) = description.preTokenizer { boundaries.cutBeforeSpaces() }
        self.boundaries = boundaries
        whole = description.ignoresMerges ? Self.byBytes(description.vocabulary) : nil
    }

    private static func byteName(_ byte: Int) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x\(digits.count < 2 ? "0" : "")\(digits)>"
    }

    private static func shown(_ text: [UInt8]) -> String { String(decoding: text, as: UTF8.self).debugDescription }

    /// The ids of the tokens of one character. A space is encoded as U+2581.
    private static func characters(_ table: WordTable, _ ids: [Int32]) -> [Int32] {
        var symbols = [Int32](repeating: -1, count: 0x11_0000)
        for number in 0..<table.count {
            table.withBytes(of: number) { text in
                guard !text.isEmpty else { return }
                let (scalar, length) = UTF8Scalar.decode(text, at: 0)
                if length == text.count { symbols[scalar] = ids[number] }
            }
        }
        symbols[space] = symbols[spaceSign]
        return symbols
    }

    /// Joins characters without a token, as one token may stand for several, or behind the bytes of the next one.
    private static func joinUnknown(_ boundaries: inout WordBoundaries, _ symbols: [Int32]) {
        func isUnknown(_ byte: Int) -> Bool { byte >= 0x80 || symbols[byte] < 0 }
        for left in 0..<256 where isUnknown(left) {
            for right in 0..<256 where isUnknown(right) { boundaries.join(left, right) }
        }
    }

    private static func byBytes(_ vocabulary: [(text: [UInt8], id: Int32)]) -> (table: WordTable, ids: [Int32]) {
        var table = WordTable()
        var ids: [Int32] = []
        for (text, id) in vocabulary {
            guard let bytes = ByteAlphabet.bytes(of: text), !bytes.isEmpty else { continue }
            let number = bytes.withUnsafeBufferPointer { table.add($0) }
            if number < ids.count { ids[number] = id } else { ids.append(id) }
        }
        return (table, ids)
    }

    /// The first bytes of characters in the planes 4 to 11 of Unicode, of which there is none yet.
    private static let unassigned: Set = [0xF1, 0xF2]

    /// Refuses a vocabulary with which some text would vanish.
    private static func checkLosses(
        _ isOfBytes: Bool, _ symbols: [Int32], hasAllBytes: Bool, _ unknown: Int32?
    ) throws(TokenizerDescription.Refusal) {
        // Without an unk_token the reference leaves out what has no token. Those of StarCoder have none for 0xF1.
        let spared: Set = unknown == nil ? unassigned : []
        let isLost = { ByteAlphabet.isOfUTF8($0) && symbols[$0] < 0 && !spared.contains($0) }
        if isOfBytes, let byte = (0..<256).first(where: isLost) {
            throw .init(
                "its vocabulary has no token for the byte \(byteName(byte)), so that text would be lost;"
                    + " train it with initial_alphabet=ByteLevel.alphabet()")
        }
        guard isOfBytes || hasAllBytes || unknown != nil else {
            throw .init(
                "it has neither an unk_token nor tokens for all bytes (byte_fallback), so that text would be lost")
        }
    }

    /// Appends the ids of a word.
    func encode(
        _ word: UnsafeBufferPointer<UInt8>, _ work: inout BytePairMerges.Workspace, _ ids: inout [Int32]
    ) {
        if let whole, let number = whole.table.number(of: word) {
            ids.append(whole.ids[number])
            return
        }
        work.symbols.removeAll(keepingCapacity: true)
        if isOfBytes {
            for byte in word where symbols[Int(byte)] >= 0 { work.symbols.append(symbols[Int(byte)]) }
        } else {
            appendCharacters(word, to: &work.symbols)
        }
        work.starts.removeAll(keepingCapacity: true)
        for place in work.symbols.indices { work.starts.append(Int32(place)) }
        merges.apply(to: &work)
        ids.append(contentsOf: work.symbols)
    }

    private func appendCharacters(_ word: UnsafeBufferPointer<UInt8>, to result: inout [Int32]) {
        var waiting = 0
        func flush() {
            if waiting > 0, let unknown { result.append(unknown) }
            waiting = 0
        }
        var place = 0
        while place < word.count {
            let (scalar, length) = UTF8Scalar.decode(word, at: place)
            defer { place += length }
            let symbol = symbols[scalar]
            if symbol >= 0 {
                flush()
                result.append(symbol)
                continue
            }
            if !bytes.isEmpty, appendBytes(word[place..<place + length], to: &result) { continue }
            // As in the reference, it stands behind bytes that follow.
            if !fusesUnknown { flush() }
            waiting += 1
        }
        flush()
    }

    /// All bytes of a character, or none.
    private func appendBytes(_ character: Slice<UnsafeBufferPointer<UInt8>>, to result: inout [Int32]) -> Bool {
        if character.first == UInt8(Self.space) {
            let sign = Normalizer.spaceSign.utf8
            guard sign.allSatisfy({ bytes[Int($0)] >= 0 }) else { return false }
            for byte in sign { result.append(bytes[Int(byte)]) }
            return true
        }
        guard character.allSatisfy({ bytes[Int($0)] >= 0 }) else { return false }
        for byte in character { result.append(bytes[Int(byte)]) }
        return true
    }
}
