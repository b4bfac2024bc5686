internal import TransfusionData
internal import TransfusionModels

extension ModelConfiguration {
    /// Takes the tokens that the `tokenizer.json` of a plain Llama has or reserves for images, in place of two after all rows.
    /// - Parameter rows: How many embeddings the Llama has.
    /// - Returns: How many of these lie behind the tokenizer's vocabulary; nil when nothing was taken, as there is no such file
    ///   or it has no tokens that have rows.
    mutating func takeMarkers(in directory: String, rows: Int) -> Int? {
        guard let path = Tokenizer.path(in: directory), let tokenizer = try? Tokenizer(path: path),
            tokenizer.form == .json, tokenizer.vocabulary <= rows
        else { return nil }
        vocabulary = tokenizer.vocabulary + imageCodes
        beginOfImage = tokenizer.beginOfImage
        endOfImage = tokenizer.endOfImage
        return rows - textVocabulary
    }
}
