internal import Glibc

/// Encodes text by a SentencePiece BPE model exactly as libsentencepiece does, but word by word and with a memory for words.
///
/// Models that normalise text or have no bytes to fall back to are left to the library.
struct SentencePieceBPE: Sendable {
    private static let spaceSign: [UInt8] = [0xE2, 0x96, 0x81]
    private static let space = 0x20

    private let merges: BytePairMerges
    /// The symbol of each character, -1 where no piece has it. Symbols from `pieceCount` on are characters that are part of
    /// pieces but have none of their own.
    private let symbols: [Int32]
    private let pieceCount: Int32
    /// The ids of the 256 bytes.
    private let bytes: [Int32]
    private let putsSpaceBeforeText: Bool
    private let boundaries: WordBoundaries
    private let caches = WordCaches()

    /// - Returns: nil for a model that this type cannot encode with.
    init?(_ model: SentencePieceModel) {
        guard model.isBPE, model.fallsBackToBytes, !model.normalizes, model.escapesSpaces, !model.removesExtraSpaces,
            !model.putsSpacesBehindWords, model.pieces.count < 1 << 24
        else { return nil }
        var vocabulary = PieceVocabulary()
        var boundaries = WordBoundaries()
        var bytes = [Int32](repeating: -1, count: 256)
        for (id, piece) in model.pieces.enumerated() {
            switch piece.kind {
            case .normal:
                guard vocabulary.add(piece.text) else { return nil }
                boundaries.add(piece.text)
            case .userDefined, .unused: return nil
            case .byte:
                guard let byte = ByteAlphabet.byte(named: piece.text) else { return nil }
                bytes[Int(byte)] = Int32(id)
                vocabulary.skip()
            case .unknown, .control:
                // A reserved piece of one letter would be found in text.
                guard String(decoding: piece.text, as: UTF8.self).unicodeScalars.count > 1 else { return nil }
                vocabulary.skip()
            }
        }
        guard !bytes.contains(-1) else { return nil }
        pieceCount = Int32(model.pieces.count)
        self.bytes = bytes
        self.boundaries = boundaries
        putsSpaceBeforeText = model.putsSpaceBeforeText
        var merges: [BytePairMerges.Merge] = []
        let ranks = Self.ranks(model.pieces)
        for (id, piece) in model.pieces.enumerated() where piece.kind == .normal {
            for (left, right) in vocabulary.parts(of: piece.text) {
                merges.append(.init(left: left, right: right, result: Int32(id), rank: ranks[id]))
            }
        }
        self.merges = BytePairMerges(merges)
        var symbols = vocabulary.characters
        symbols[Self.space] = symbols[0x2581]
        self.symbols = symbols
    }

    /// Higher scores come first; equal scores have equal ranks, and the leftmost pair wins.
    private static func ranks(_ pieces: [SentencePieceModel.Piece]) -> [Int32] {
        let order = pieces.indices.sorted { pieces[$0].score > pieces[$1].score }
        var ranks = [Int32](repeating: 0, count: pieces.count)
        for (place, id) in order.enumerated().dropFirst() {
            let before = order[place - 1]
            ranks[id] = ranks[before] + (pieces[id].score < pieces[before].score ? 1 : 0)
        }
        return ranks
    }

    func encode(_ text: UnsafeBufferPointer<UInt8>) -> [Int32] {
        guard !text.isEmpty else { return [] }
        if Self.hasSpaceSign(text) { return encodeSpaced(text) }
        var ids: [Int32] = []
        ids.reserveCapacity(text.count / 3)
        // Made once: for each word anew it would count the references to all tables.
        let encode = encodeWord
        caches.with { cache in
            var start = 0
            if putsSpaceBeforeText {
                start = boundaries.endOfWord(text, from: 0)
                var word = [UInt8(Self.space)]
                word.append(contentsOf: text[..<start])
                word.withUnsafeBufferPointer { cache.append($0, 0..<$0.count, to: &ids, encode: encode) }
            }
            while start < text.count {
                let end = boundaries.endOfWord(text, from: start)
                cache.append(text, start..<end, to: &ids, encode: encode)
                start = end
            }
        }
        return ids
    }

    private static func hasSpaceSign(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var place = 0
        while place + 2 < text.count, let base = text.baseAddress,
            let found = memchr(base + place, Int32(spaceSign[0]), text.count - place - 2)
        {
            place = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            if text[place + 1] == spaceSign[1], text[place + 2] == spaceSign[2] { return true }
            place += 1
        }
        return false
    }

    /// Text with U+2581 in it, which the library does not tell from a space.
    private func encodeSpaced(_ text: UnsafeBufferPointer<UInt8>) -> [Int32] {
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count)
        var place = 0
        while place < text.count {
            if text[place] == Self.spaceSign[0], text[place...].starts(with: Self.spaceSign) {
                plain.append(UInt8(Self.space))
                place += Self.spaceSign.count
            } else {
                plain.append(text[place])
                place += 1
            }
        }
        return plain.withUnsafeBufferPointer(encode)
    }

    private func encodeWord(
        _ word: UnsafeBufferPointer<UInt8>, _ work: inout BytePairMerges.Workspace, _ ids: inout [Int32]
    ) {
        work.symbols.removeAll(keepingCapacity: true)
        work.starts.removeAll(keepingCapacity: true)
        var place = 0
        while place < word.count {
            let (scalar, length) = UTF8Scalar.decode(word, at: place)
            work.symbols.append(symbols[scalar])
            work.starts.append(Int32(place))
            place += length
        }
        merges.apply(to: &work)
        for (index, symbol) in work.symbols.enumerated() {
            if symbol >= 0, symbol < pieceCount {
                ids.append(symbol)
                continue
            }
            // One character without a piece.
            let start = Int(work.starts[index])
            let end = index + 1 < work.starts.count ? Int(work.starts[index + 1]) : word.count
            if word[start] == UInt8(Self.space) {
                for byte in Self.spaceSign { ids.append(bytes[Int(byte)]) }
            } else {
                for byte in word[start..<end] { ids.append(bytes[Int(byte)]) }
            }
        }
    }
}
