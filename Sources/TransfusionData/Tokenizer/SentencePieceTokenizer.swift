internal import CSentencePiece
internal import TransfusionCore

/// Text to token ids and back by a SentencePiece model, with two ids after its pieces for the borders of an image.
///
/// The ids are the model's pieces `0 ..< pieceCount`, then BOI and EOI. Ids of special tokens never come from text unless
/// the caller asks for them to be parsed.
///
/// `@unchecked Sendable`: libsentencepiece's processor is not changed after loading, and its encode and decode are const.
public final class SentencePieceTokenizer: @unchecked Sendable {
    /// How special tokens are written where they are parsed.
    public static let beginOfImageText = "<boi>"
    public static let endOfImageText = "<eoi>"

    /// The contents of the `.model` file.
    public let model: [UInt8]
    /// SHA-256 of the contents of the `.model` file, which identifies the tokenizer in data sets and checkpoints.
    public let digest: String
    public let pieceCount: Int
    public let beginOfText: Int32
    public let endOfText: Int32
    private let handle: OpaquePointer
    /// The faster way to encode, where the model allows it.
    private let encoder: SentencePieceBPE?

    public var beginOfImage: Int32 { Int32(pieceCount) }
    public var endOfImage: Int32 { Int32(pieceCount + 1) }
    /// Number of token ids, BOI and EOI included.
    public var vocabulary: Int { pieceCount + 2 }

    /// Loads any SentencePiece `.model`, such as Llama 2's.
    public convenience init(path: String) throws(DataError) {
        try self.init(model: try Files.read(path, limit: 1 << 28), name: path)
    }

    /// - Parameters:
    ///   - model: The contents of a `.model` file.
    ///   - name: What errors call it.
    public init(model: [UInt8], name: String) throws(DataError) {
        var loaded: OpaquePointer?
        do {
            try Self.check(name) { error in
                model.withUnsafeBytes { bytes in
                    tf_sp_load(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &loaded, error)
                }
            }
        } catch {
            throw DataError(name, Self.refusal(of: model))
        }
        guard let loaded else { throw DataError(name, Self.refusal(of: model)) }
        let beginOfText = tf_sp_bos_id(loaded)
        let endOfText = tf_sp_eos_id(loaded)
        guard beginOfText >= 0, endOfText >= 0 else {
            tf_sp_free(loaded)
            throw DataError(name, "has no <s> or no </s>; train the tokenizer with both")
        }
        handle = loaded
        encoder = SentencePieceModel(model).flatMap { SentencePieceBPE($0) }
        self.model = model
        self.beginOfText = beginOfText
        self.endOfText = endOfText
        pieceCount = Int(tf_sp_piece_count(loaded))
        digest = SHA256.hexDigest(model)
    }

    deinit { tf_sp_free(handle) }

    /// Why a file that the library does not load is no model, by what it looks like.
    private static func refusal(of contents: [UInt8]) -> String {
        if contents.first(where: { $0 > 32 }) == UInt8(ascii: "{") {
            return "is JSON, as a tokenizer.json is; give the SentencePiece model beside it, tokenizer.model"
        }
        return contents.isEmpty
            ? "is empty; a SentencePiece model is expected, as in tokenizer.model"
            : "is not a SentencePiece model, such as Llama 2's tokenizer.model or what 'tf-data tokenizer train' makes"
    }

    /// The ids of a text, without BOS and EOS.
    /// - Parameter parseSpecials: Read `<s>`, `</s>`, `<boi>` and `<eoi>` as the special tokens instead of as letters.
    ///   Each stretch of text between them is encoded on its own. For trusted templates only.
    public func encode(_ text: String, parseSpecials: Bool = false) throws(DataError) -> [Int32] {
        guard parseSpecials else { return try encodePlain(text) }
        var ids: [Int32] = []
        var rest = text[...]
        while !rest.isEmpty {
            let next = specials.compactMap { special in
                rest.firstRange(of: special.text).map { (range: $0, id: special.id) }
            }.min { $0.range.lowerBound < $1.range.lowerBound }
            guard let next else { break }
            let before = rest[..<next.range.lowerBound]
            if !before.isEmpty { ids += try encodePlain(String(before)) }
            ids.append(next.id)
            rest = rest[next.range.upperBound...]
        }
        if !rest.isEmpty { ids += try encodePlain(String(rest)) }
        return ids
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
        var text: UnsafeMutablePointer<CChar>?
        var count = 0
        try Self.check("tokenizer") { error in
            pieces.withUnsafeBufferPointer { tf_sp_decode(handle, $0.baseAddress, $0.count, &text, &count, error) }
        }
        defer { tf_sp_release(text) }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: count), as: UTF8.self)
    }

    /// True for BOS, EOS, BOI, EOI and the model's other control pieces.
    public func isSpecial(_ id: Int32) -> Bool {
        Int(id) >= pieceCount || tf_sp_is_control(handle, id) != 0
    }

    /// The written form of one id: its piece, or the name of the special token.
    public func piece(_ id: Int32) -> String? {
        if id == beginOfImage { return Self.beginOfImageText }
        if id == endOfImage { return Self.endOfImageText }
        guard id >= 0, Int(id) < pieceCount else { return nil }
        var count = 0
        let bytes = tf_sp_piece(handle, id, &count)
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    private var specials: [(text: String, id: Int32)] {
        [beginOfText, endOfText, beginOfImage, endOfImage].compactMap { id in piece(id).map { ($0, id) } }
    }

    private func encodePlain(_ text: String) throws(DataError) -> [Int32] {
        guard let encoder else { return try encodeByLibrary(text) }
        var text = text
        return text.withUTF8 { encoder.encode($0) }
    }

    /// Whether text is encoded without libsentencepiece.
    var encodesByItself: Bool { encoder != nil }

    /// What libsentencepiece makes of a text: the way for models that `SentencePieceBPE` is not made for.
    func encodeByLibrary(_ text: String) throws(DataError) -> [Int32] {
        var text = text
        var ids: UnsafeMutablePointer<Int32>?
        var count = 0
        try Self.check("tokenizer") { error in
            text.withUTF8 { utf8 in
                utf8.withMemoryRebound(to: CChar.self) {
                    tf_sp_encode(handle, $0.baseAddress, $0.count, &ids, &count, error)
                }
            }
        }
        defer { tf_sp_release(ids) }
        return Array(UnsafeBufferPointer(start: ids, count: count))
    }

    /// Calls a function of the C face and turns its message into an error that names `subject`.
    static func check(
        _ subject: String, _ call: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) throws(DataError) {
        var message: UnsafeMutablePointer<CChar>?
        guard call(&message) != 0 else { return }
        defer { tf_sp_release(message) }
        let reason = message.map { String(cString: $0) } ?? "out of memory"
        throw DataError(subject, "libsentencepiece: \(reason.isEmpty ? "not a SentencePiece model" : reason)")
    }
}
