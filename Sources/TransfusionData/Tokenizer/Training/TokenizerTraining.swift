internal import CSentencePiece

/// A tokenizer that was trained, and what it learned from.
public struct TokenizerTraining {
    public let tokenizer: Tokenizer
    /// How many pieces it has, the fixed ones included.
    public let pieceCount: Int
    /// What the person should know: a line each, for what was left out, cut or is smaller than asked for.
    public let notes: [String]

    /// Pieces that every model has: `<unk>`, `<s>`, `</s>` and the 256 bytes.
    static let fixedPieces = 3 + 256
    static let mostPieces = 1_000_000

    /// Trains a BPE model with Llama's settings: bytes for what has no piece, no normalisation, digits one by one.
    ///
    /// The model has fewer pieces than asked for when the corpus has not so many different ones.
    /// - Parameters:
    ///   - source: Where the texts come from, for errors.
    ///   - pieces: How many pieces, the fixed ones included.
    public init(on corpus: TokenizerCorpus, from source: String = "corpus", pieces: Int) throws(DataError) {
        guard pieces > Self.fixedPieces, pieces <= Self.mostPieces else {
            throw DataError(
                wrongUse: "--pieces: a tokenizer has more than \(Self.fixedPieces) pieces (<unk>, <s>, </s> and 256"
                    + " bytes) and at most \(Self.mostPieces), not \(pieces)")
        }
        let counts = try corpus.wordCounts()
        // Characters take at most half of the room at first, so that pieces of several letters are left even for many.
        let half = max(1, (pieces - Self.fixedPieces) / 2)
        var words = TrainingWords(counts, characters: half)
        guard words.hasLetters else {
            throw DataError(source, "no text in it to train on; give a file with texts")
        }
        var trained = try Self.train(on: words, pieces: pieces)
        if trained.vocabulary - 2 < pieces, words.spelled > 0 {
            words = TrainingWords(counts, characters: half + pieces - (trained.vocabulary - 2))
            trained = try Self.train(on: words, pieces: pieces)
        }
        tokenizer = trained
        // Without BOI and EOI.
        pieceCount = trained.vocabulary - 2
        notes = Self.notes(corpus, counts, words) + Self.notes(pieces: pieceCount, of: pieces)
    }

    private static func train(on words: TrainingWords, pieces: Int) throws(DataError) -> Tokenizer {
        let options = [
            ("model_type", "bpe"), ("vocab_size", String(pieces)), ("hard_vocab_limit", "false"),
            // Letters without a piece were taken out of the words.
            ("character_coverage", "1"),
            ("byte_fallback", "true"), ("split_digits", "true"), ("allow_whitespace_only_pieces", "true"),
            ("normalization_rule_name", "identity"), ("remove_extra_whitespaces", "false"),
            ("add_dummy_prefix", "true"), ("unk_id", "0"), ("bos_id", "1"), ("eos_id", "2"), ("pad_id", "-1"),
            // The trainer uses threads to normalise only, which takes no time for words that are counted; their number
            // is written into the model.
            ("num_threads", "1"), ("input_format", "tsv"), ("max_sentence_length", "1048576"), ("minloglevel", "2"),
        ]
        var model: UnsafeMutablePointer<CChar>?
        var count = 0
        let text = options.map { "\($0)=\($1)" }.joined(separator: "\n")
        try SentencePieceTokenizer.check("tokenizer with \(pieces) pieces") { error in
            words.lines.withUnsafeBytes { lines in
                words.ends.withUnsafeBufferPointer { ends in
                    tf_sp_train(text, lines.baseAddress, ends.baseAddress, ends.count, &model, &count, error)
                }
            }
        }
        defer { tf_sp_release(model) }
        let bytes = [UInt8](UnsafeRawBufferPointer(start: model, count: count))
        return try Tokenizer(contents: bytes, name: "trained tokenizer")
    }

    private static func notes(_ corpus: TokenizerCorpus, _ counts: WordCounts, _ words: TrainingWords) -> [String] {
        var notes: [String] = []
        func note(_ count: Int, _ one: String, _ many: String) {
            if count > 0 { notes.append(count == 1 ? one : "\(count) \(many)") }
        }
        if corpus.isSample {
            notes.append("the tokenizer learned from \(corpus.byteLimit >> 20) MiB of the texts, chosen at random")
        }
        let limit = TokenizerCorpus.longestText >> 20
        note(
            counts.cutTexts, "one text is longer than \(limit) MiB, and only its beginning was learned from",
            "texts are longer than \(limit) MiB, and only their beginnings were learned from")
        note(
            counts.cutWords, "one run of more than \(TrainingWordScanner.longestWord) letters without a space was cut",
            "runs of more than \(TrainingWordScanner.longestWord) letters without a space were cut")
        note(
            words.leftOut, "the rarest word was left out, as there are too many different ones",
            "of \(counts.words.count) different words, the rarest, were left out")
        note(
            words.spelled, "one rare character has no piece and is written in bytes",
            "rare characters have no piece and are written in bytes")
        return notes
    }

    private static func notes(pieces: Int, of asked: Int) -> [String] {
        guard pieces < asked else { return [] }
        return ["the texts hold no more than \(pieces) different pieces; \(asked) were asked for"]
    }
}
