internal import CSentencePiece

extension SentencePieceTokenizer {
    /// Trains a BPE model with Llama's settings: bytes for what has no piece, no normalisation, digits one by one.
    /// - Parameters:
    ///   - texts: The corpus, one sentence or document each.
    ///   - source: Where they come from, for errors.
    ///   - pieces: How many pieces, `<unk>`, `<s>`, `</s>` and the 256 bytes included.
    public static func train(
        on texts: [String], from source: String = "corpus", pieces: Int
    ) throws(DataError) -> SentencePieceTokenizer {
        guard pieces > 3 + 256 else {
            throw DataError(
                wrongUse:
                    "--pieces: a tokenizer needs more than 259 pieces (<unk>, <s>, </s> and 256 bytes), not \(pieces)")
        }
        guard texts.contains(where: { !$0.allSatisfy(\.isWhitespace) }) else {
            throw DataError(source, "no text in it to train on; give a file with texts")
        }
        let options = [
            ("model_type", "bpe"), ("vocab_size", String(pieces)), ("character_coverage", "0.9999"),
            ("byte_fallback", "true"), ("split_digits", "true"), ("allow_whitespace_only_pieces", "true"),
            ("normalization_rule_name", "identity"), ("remove_extra_whitespaces", "false"),
            ("add_dummy_prefix", "true"), ("unk_id", "0"), ("bos_id", "1"), ("eos_id", "2"), ("pad_id", "-1"),
            // One thread, so that the same corpus gives the same model.
            ("num_threads", "1"), ("max_sentence_length", "1048576"), ("minloglevel", "2"),
        ]
        let names = CStrings(options.map(\.0))
        let values = CStrings(options.map(\.1))
        let sentences = CStrings(texts)
        var model: UnsafeMutablePointer<CChar>?
        var count = 0
        try check("tokenizer with \(pieces) pieces") { error in
            tf_sp_train(
                names.pointers, values.pointers, options.count, sentences.pointers, sentences.lengths, texts.count,
                &model, &count, error)
        }
        defer { tf_sp_release(model) }
        let bytes = [UInt8](UnsafeRawBufferPointer(start: model, count: count))
        return try SentencePieceTokenizer(model: bytes, name: "trained tokenizer")
    }
}

/// Swift strings as an array of C strings in one allocation.
private final class CStrings {
    let pointers: [UnsafePointer<CChar>?]
    let lengths: [Int]
    private let storage: UnsafeMutableBufferPointer<CChar>

    init(_ strings: [String]) {
        lengths = strings.map { $0.utf8.count }
        storage = .allocate(capacity: lengths.reduce(0, +) + strings.count)
        var pointers: [UnsafePointer<CChar>?] = []
        var offset = 0
        for string in strings {
            pointers.append(UnsafePointer(storage.baseAddress! + offset))
            for byte in string.utf8 {
                storage.initializeElement(at: offset, to: CChar(bitPattern: byte))
                offset += 1
            }
            storage.initializeElement(at: offset, to: 0)
            offset += 1
        }
        self.pointers = pointers
    }

    deinit { storage.deallocate() }
}
