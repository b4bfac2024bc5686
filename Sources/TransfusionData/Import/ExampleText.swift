internal import TransfusionCore

/// What the data sets of examples do with their texts.
enum ExampleText {
    /// The given tokenizer, or one trained on the captions and some of the texts.
    static func tokenizer(
        _ path: String?, captions: [String], _ texts: [String], pieces: Int
    ) throws(DataError) -> (tokenizer: Tokenizer, notes: [String]) {
        if let path { return (try Tokenizer(path: path), []) }
        // Captions are few beside the texts; repeated until they weigh as much, their words become pieces.
        let sample = texts.prefix(20_000)
        let repeats = max(1, sample.count / max(1, captions.count))
        let training = try TokenizerTraining(
            on: TokenizerCorpus(captions.flatMap { repeatElement($0, count: repeats) } + sample), pieces: pieces)
        return (training.tokenizer, training.notes)
    }

    /// The sources are ordered by subject; in a data set neighbours shall have nothing to do with each other.
    static func shuffled(_ texts: [String]) -> [String] {
        guard !texts.isEmpty else { return [] }
        let order = Permutation(count: texts.count, seed: 0, purpose: .packing, epoch: 0)
        return texts.indices.map { texts[order($0)] }
    }
}
