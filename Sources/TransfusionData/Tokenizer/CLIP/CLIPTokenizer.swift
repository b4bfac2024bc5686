internal import Foundation

/// Text to the token ids of a CLIP model: words in small letters, encoded as pairs of bytes.
///
/// ### References
/// Radford et al. 2021; the files are those of Hugging Face's `CLIPTokenizer`.
public struct CLIPTokenizer: Sendable {
    public let beginOfText: Int32
    public let endOfText: Int32
    /// One more than the largest id.
    public let vocabulary: Int

    private let merges: BytePairMerges
    /// The ids of single bytes within a word, and at its end.
    private let bytes: [Int32]
    private let lastBytes: [Int32]

    private static let wordEnd = "</w>"
    private static let begin = "<|startoftext|>"
    private static let end = "<|endoftext|>"
    private static let mostBytes = 1 << 26
    private static let contractions = ["s", "t", "re", "ve", "m", "ll", "d"].map { Array($0.unicodeScalars) }

    private struct File: Decodable {
        struct Model: Decodable {
            let vocab: [String: Int32]
            let merges: [Merge]
        }
        let model: Model
    }

    /// `"a b"`, or as newer programs write it `["a", "b"]`.
    private struct Merge: Decodable {
        let left: Substring
        let right: Substring

        init?(_ line: some StringProtocol) {
            let parts = line.split(separator: " ")
            guard parts.count == 2 else { return nil }
            (left, right) = (Substring(parts[0]), Substring(parts[1]))
        }

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let pair = try? value.decode([String].self), pair.count == 2 {
                (left, right) = (Substring(pair[0]), Substring(pair[1]))
            } else if let merge = Merge(try value.decode(String.self)) {
                self = merge
            } else {
                throw DecodingError.dataCorruptedError(in: value, debugDescription: "a merge is two pieces of text")
            }
        }
    }

    /// - Parameter directory: With `vocab.json` and `merges.txt`, or with `tokenizer.json`.
    /// - Throws: `DataError` that names the file.
    public init(directory: String) throws(DataError) {
        let (vocabularyPath, mergesPath) = (directory + "/vocab.json", directory + "/merges.txt")
        let whole = directory + "/tokenizer.json"
        if Files.exists(vocabularyPath), Files.exists(mergesPath) {
            let vocabulary: [String: Int32] = try Self.decode(vocabularyPath)
            let text = String(decoding: try Files.read(mergesPath, limit: Self.mostBytes), as: UTF8.self)
            let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#version") && !$0.isEmpty }
            var merges: [Merge] = []
            for line in lines {
                guard let merge = Merge(line) else {
                    throw DataError(mergesPath, "has the line '\(line.prefix(60))', which is no pair of pieces")
                }
                merges.append(merge)
            }
            try self.init(vocabulary, merges, name: vocabularyPath)
        } else if Files.exists(whole) {
            let file: File = try Self.decode(whole)
            try self.init(file.model.vocab, file.model.merges, name: whole)
        } else {
            throw DataError(directory, "has neither vocab.json with merges.txt nor tokenizer.json")
        }
    }

    private static func decode<Value: Decodable>(_ path: String) throws(DataError) -> Value {
        let contents = try Files.read(path, limit: mostBytes)
        do {
            return try JSONDecoder().decode(Value.self, from: Data(contents))
        } catch {
            throw DataError(path, "is no vocabulary of CLIP: \(error.localizedDescription)")
        }
    }

    private init(_ vocabulary: [String: Int32], _ merges: [Merge], name: String) throws(DataError) {
        func id(_ token: String) throws(DataError) -> Int32 {
            guard let id = vocabulary[token] else {
                throw DataError(name, "is no vocabulary of CLIP: it has no token \(token)")
            }
            return id
        }
        guard vocabulary.values.allSatisfy({ (0..<1 << 24).contains($0) }) else {
            throw DataError(name, "has ids below 0 or above \(1 << 24)")
        }
        (beginOfText, endOfText) = (try id(Self.begin), try id(Self.end))
        var bytes: [Int32] = [], lastBytes: [Int32] = []
        for letter in ByteAlphabet.letters {
            bytes.append(try id(String(letter)))
            lastBytes.append(try id(String(letter) + Self.wordEnd))
        }
        (self.bytes, self.lastBytes) = (bytes, lastBytes)
        var table: [BytePairMerges.Merge] = []
        for (rank, merge) in merges.enumerated() {
            table.append(
                .init(
                    left: try id(String(merge.left)), right: try id(String(merge.right)),
                    result: try id(String(merge.left + merge.right)), rank: Int32(rank)))
        }
        self.merges = BytePairMerges(table)
        self.vocabulary = Int(vocabulary.values.max() ?? 0) + 1
    }

    /// The ids of a text between its two markers; what is beyond `limit` ids is cut off before the last marker.
    public func encode(_ text: String, limit: Int) -> (ids: [Int32], isCut: Bool) {
        precondition(limit >= 2)
        let scalars = Array(text.canonicallyComposed.lowercased().unicodeScalars)
        var ids = [beginOfText]
        var work = BytePairMerges.Workspace()
        var place = 0
        while place < scalars.count {
            let end = Self.endOfWord(scalars, place)
            defer { place = end }
            guard !CharacterClass.table[Int(scalars[place].value)].contains(.space) else { continue }
            var word = String.UnicodeScalarView()
            word.append(contentsOf: scalars[place..<end])
            let letters = Array(String(word).utf8)
            work.symbols = letters.map { bytes[Int($0)] }
            work.symbols[letters.count - 1] = lastBytes[Int(letters[letters.count - 1])]
            work.starts = letters.indices.map { Int32($0) }
            merges.apply(to: &work)
            ids += work.symbols
        }
        let isCut = ids.count + 1 > limit
        return (Array(ids.prefix(limit - 1)) + [endOfText], isCut)
    }

    /// The pattern `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`; a space is a word of its own.
    private static func endOfWord(_ scalars: [Unicode.Scalar], _ start: Int) -> Int {
        func kind(_ place: Int) -> CharacterClass { CharacterClass.table[Int(scalars[place].value)] }
        if scalars[start] == "'" {
            for ending in contractions where scalars[(start + 1)...].starts(with: ending) {
                return start + 1 + ending.count
            }
        }
        let first = kind(start)
        var end = start + 1
        if first.contains(.letter) {
            while end < scalars.count, kind(end).contains(.letter) { end += 1 }
        } else if !first.contains(.number), !first.contains(.space) {
            while end < scalars.count, kind(end).isDisjoint(with: [.letter, .number, .space]) { end += 1 }
        }
        return end
    }
}
