internal import TransfusionCore

/// Text to token ids and back, with two ids for the borders of an image.
///
/// The ids of BOI and EOI are tokens that the file reserves, where it has some, else they follow its tokens. Ids of special
/// tokens never come from text unless the caller asks for them to be parsed.
public final class Tokenizer: Sendable {
    /// The two kinds of files.
    public enum Form: Sendable, CaseIterable {
        /// A SentencePiece model, such as Llama 2's.
        case sentencePiece
        /// What the library `tokenizers` writes, such as Llama 3's.
        case json

        public var fileName: String {
            switch self {
            case .sentencePiece: "tokenizer.model"
            case .json: "tokenizer.json"
            }
        }
    }

    /// How special tokens are written where they are parsed.
    public static let beginOfImageText = "<boi>"
    public static let endOfImageText = "<eoi>"

    private static let mostBytes = 1 << 27

    public let form: Form
    /// The contents of the file.
    public let contents: [UInt8]
    /// SHA-256 of the contents, which identifies the tokenizer in data sets and checkpoints.
    public let digest: String
    let model: any TokenizerModel

    public var beginOfText: Int32 { model.beginOfText }
    public var endOfText: Int32 { model.endOfText }
    public var beginOfImage: Int32 { model.beginOfImage }
    public var endOfImage: Int32 { model.endOfImage }
    /// Number of token ids, BOI and EOI included.
    public var vocabulary: Int { model.vocabulary }

    /// Loads a SentencePiece `.model` or a `tokenizer.json`.
    public convenience init(path: String) throws(DataError) {
        try self.init(contents: try Files.read(path, limit: Self.mostBytes), name: path)
    }

    /// The tokenizer in a directory, in the form that is there.
    /// - Returns: nil when the directory has none.
    public static func path(in directory: String) -> String? {
        Form.allCases.map { directory + "/" + $0.fileName }.first { Files.exists($0) }
    }

    /// - Parameters:
    ///   - contents: Those of a `.model` file or a `tokenizer.json`, which are told apart by how they begin.
    ///   - name: What errors call it.
    public init(contents: [UInt8], name: String) throws(DataError) {
        if contents.first(where: { $0 > 32 }) == UInt8(ascii: "{") {
            form = .json
            model = try JSONTokenizer(contents, name: name)
        } else {
            form = .sentencePiece
            model = try SentencePieceTokenizer(model: contents, name: name)
        }
        self.contents = contents
        digest = SHA256.hexDigest(contents)
    }

    /// The ids of a text, without BOS and EOS.
    /// - Parameter parseSpecials: Read the special tokens, `<boi>` and `<eoi>` among them, as such instead of as letters. Each
    ///   stretch of text between them is encoded on its own. For trusted templates only.
    public func encode(_ text: String, parseSpecials: Bool = false) throws(DataError) -> [Int32] {
        var text = text
        let result = text.withUTF8 { text in
            Result { () throws(DataError) in try model.encode(text, parseSpecials: parseSpecials) }
        }
        return try result.get()
    }

    /// The ids of a text of valid UTF-8, without BOS and EOS.
    func encode(_ text: UnsafeBufferPointer<UInt8>) throws(DataError) -> [Int32] {
        try model.encode(text, parseSpecials: false)
    }

    /// The text of ids; special tokens have none.
    /// - Throws: `DataError` when an id lies outside the vocabulary.
    public func decode(_ ids: some Sequence<Int32>) throws(DataError) -> String {
        var pieces: [Int32] = []
        for id in ids {
            guard id >= 0, Int(id) < vocabulary else {
                throw DataError("token \(id) lies outside the tokenizer's vocabulary of \(vocabulary)")
            }
            if !isSpecial(id) { pieces.append(id) }
        }
        return try model.decode(pieces)
    }

    /// True for BOS, EOS, BOI, EOI and the file's other control tokens.
    public func isSpecial(_ id: Int32) -> Bool { model.isSpecial(id) }

    /// The written form of one id: its piece, or the name of the special token.
    public func piece(_ id: Int32) -> String? { id >= 0 && Int(id) < vocabulary ? model.piece(id) : nil }
}
