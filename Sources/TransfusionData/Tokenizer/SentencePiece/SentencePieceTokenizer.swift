internal import CSentencePiece

/// Text to token ids and back by a SentencePiece model: the ids are its pieces `0 ..< pieceCount`, then BOI and EOI.
///
/// `@unchecked Sendable`: libsentencepiece's processor is not changed after loading, and its encode and decode are const.
final class SentencePieceTokenizer: TokenizerModel, @unchecked Sendable {
    let pieceCount: Int
    let beginOfText: Int32
    let endOfText: Int32
    private let handle: OpaquePointer
    /// The faster way to encode, where the model allows it.
    private let encoder: SentencePieceBPE?

    var beginOfImage: Int32 { Int32(pieceCount) }
    var endOfImage: Int32 { Int32(pieceCount + 1) }
    /// Number of token ids, BOI and EOI included.
    var vocabulary: Int { pieceCount + 2 }

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
        self.beginOfText = beginOfText
        self.endOfText = endOfText
        pieceCount = Int(tf_sp_piece_count(loaded))
    }

    deinit { tf_sp_free(handle) }

    /// Why a file that the library does not load is no model, by what it looks like.
    private static func refusal(of contents: [UInt8]) -> String {
        contents.isEmpty
            ? "is empty; a SentencePiece model (tokenizer.model) or a tokenizer.json is expected"
            : "is neither a SentencePiece model, such as Llama 2's tokenizer.model or what 'tf-data tokenizer train' makes, nor"
                + " a tokenizer.json"
    }

    func encode(_ text: UnsafeBufferPointer<UInt8>, parseSpecials: Bool) throws(DataError) -> [Int32] {
        guard parseSpecials else { return try encodePlain(text) }
        let specials = specials
        var ids: [Int32] = []
        var start = 0
        var place = 0
        while place < text.count {
            let rest = text[place...]
            guard let special = specials.first(where: { rest.starts(with: $0.text.utf8) }) else {
                place += 1
                continue
            }
            if start < place { ids += try encodePlain(UnsafeBufferPointer(rebasing: text[start..<place])) }
            ids.append(special.id)
            place += special.text.utf8.count
            start = place
        }
        if start < text.count { ids += try encodePlain(UnsafeBufferPointer(rebasing: text[start...])) }
        return ids
    }

    func decode(_ ids: [Int32]) throws(DataError) -> String {
        var text: UnsafeMutablePointer<CChar>?
        var count = 0
        try Self.check("tokenizer") { error in
            ids.withUnsafeBufferPointer { tf_sp_decode(handle, $0.baseAddress, $0.count, &text, &count, error) }
        }
        defer { tf_sp_release(text) }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: count), as: UTF8.self)
    }

    func isSpecial(_ id: Int32) -> Bool { Int(id) >= pieceCount || tf_sp_is_control(handle, id) != 0 }

    func piece(_ id: Int32) -> String {
        if id == beginOfImage { return Tokenizer.beginOfImageText }
        if id == endOfImage { return Tokenizer.endOfImageText }
        var count = 0
        let bytes = tf_sp_piece(handle, id, &count)
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    private var specials: [(text: String, id: Int32)] {
        [beginOfText, endOfText, beginOfImage, endOfImage].map { (piece($0), $0) }
    }

    private func encodePlain(_ text: UnsafeBufferPointer<UInt8>) throws(DataError) -> [Int32] {
        guard let encoder else { return try encodeByLibrary(text) }
        return encoder.encode(text)
    }

    /// Whether text is encoded without libsentencepiece.
    var encodesByItself: Bool { encoder != nil }

    /// What libsentencepiece makes of a text: the way for models that `SentencePieceBPE` is not made for.
    func encodeByLibrary(_ text: UnsafeBufferPointer<UInt8>) throws(DataError) -> [Int32] {
        var ids: UnsafeMutablePointer<Int32>?
        var count = 0
        try Self.check("tokenizer") { error in
            text.withMemoryRebound(to: CChar.self) {
                tf_sp_encode(handle, $0.baseAddress, $0.count, &ids, &count, error)
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
