/// What a `tokenizer.json` says, as far as it decides how text is encoded and decoded.
///
/// Only byte-pair encodings are read, and of their parts those that today's language models have. Every other part is refused
/// by its name.
///
/// ### References
/// huggingface/tokenizers, tokenizers/src/tokenizer/serialization.rs and the types that it names.
struct TokenizerDescription {
    struct AddedToken {
        var id: Int32
        var content: [UInt8]
        /// A control token, which has no text.
        var isSpecial: Bool
        /// It is looked for in the text after normalisation.
        var isNormalized: Bool
        var isSingleWord: Bool
        var takesSpaceBefore: Bool
        var takesSpaceAfter: Bool
    }

    struct Merge {
        var left: [UInt8]
        var right: [UInt8]
    }

    static let mostTokens = 1 << 22

    var addedTokens: [AddedToken] = []
    var normalizers: [Normalizer] = []
    var preTokenizer = PreTokenizer.none
    var decoder: [TokenDecoder.Step] = []
    /// The ids of the tokens by their texts.
    var vocabulary: [(text: [UInt8], id: Int32)] = []
    /// The first ones come first.
    var merges: [Merge] = []
    var unknownToken: [UInt8]?
    var fusesUnknown = false
    var fallsBackToBytes = false
    var ignoresMerges = false
    /// The special tokens that the template puts before and behind a text.
    var tokenBeforeText: [UInt8]?
    var tokenBehindText: [UInt8]?

    /// - Throws: `DataError` that says which part is not understood.
    init(_ contents: [UInt8], name: String) throws(DataError) {
        guard String(validating: contents, as: UTF8.self) != nil else { throw DataError(name, "is not UTF-8 text") }
        do throws(Refusal) {
            let result = contents.withUnsafeBytes { bytes in
                Result { () throws(Refusal) in try read(bytes) }
            }
            try result.get()
        } catch {
            throw DataError(name, error.description)
        }
    }

    /// Why a file is not read.
    struct Refusal: Error {
        let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    private mutating func read(_ bytes: UnsafeRawBufferPointer) throws(Refusal) {
        var parts: [String: JSONTree] = [:]
        var hasModel = false
        do throws(JSONReader.Problem) {
            var reader = JSONReader(bytes)
            try reader.object { (reader, key) throws(JSONReader.Problem) in
                if key == "model", reader.isNext("{") {
                    hasModel = true
                    try readModel(&reader)
                } else {
                    parts[key] = try JSONTree(&reader)
                }
            }
            try reader.end()
        } catch {
            throw Refusal("is no tokenizer.json: \(error.description)")
        }
        guard hasModel else { throw Refusal("is no tokenizer.json: it has no \"model\"") }
        try check()
        try readAddedTokens(parts["added_tokens"])
        normalizers = try Normalizer.list(parts["normalizer"])
        preTokenizer = try PreTokenizer(parts["pre_tokenizer"])
        decoder = try TokenDecoder.steps(parts["decoder"])
        readTemplate(parts["post_processor"])
    }

    // MARK: The model

    private struct ModelParts {
        var type: String?
        var dropout: JSONTree?
        var prefix: JSONTree?
        var suffix: JSONTree?
    }

    private var model = ModelParts()

    private mutating func readModel(_ reader: inout JSONReader) throws(JSONReader.Problem) {
        try reader.object { (reader, key) throws(JSONReader.Problem) in
            switch key {
            case "vocab" where reader.isNext("{"): try readVocabulary(&reader)
            case "merges" where reader.isNext("["): try readMerges(&reader)
            default:
                let value = try JSONTree(&reader)
                switch key {
                case "type": model.type = value.text
                case "dropout": model.dropout = value
                case "continuing_subword_prefix": model.prefix = value
                case "end_of_word_suffix": model.suffix = value
                case "unk_token": unknownToken = value.text.map { [UInt8]($0.utf8) }
                case "fuse_unk": fusesUnknown = value.flag ?? false
                case "byte_fallback": fallsBackToBytes = value.flag ?? false
                case "ignore_merges": ignoresMerges = value.flag ?? false
                default: break
                }
            }
        }
    }

    private mutating func readVocabulary(_ reader: inout JSONReader) throws(JSONReader.Problem) {
        vocabulary = []
        try reader.object { (reader, key) throws(JSONReader.Problem) in
            guard let id = Int32(try reader.word()), (0..<Int32(Self.mostTokens)).contains(id),
                vocabulary.count < Self.mostTokens
            else { throw reader.problem("an id of the vocabulary outside 0 … \(Self.mostTokens - 1)") }
            vocabulary.append(([UInt8](key.utf8), id))
        }
    }

    /// `["a b", …]`, or `[["a", "b"], …]` since version 0.20.
    private mutating func readMerges(_ reader: inout JSONReader) throws(JSONReader.Problem) {
        merges = []
        var text: [UInt8] = []
        try reader.list { (reader) throws(JSONReader.Problem) in
            guard merges.count < Self.mostTokens else { throw reader.problem("more than \(Self.mostTokens) merges") }
            var parts: [[UInt8]] = []
            if reader.isNext("[") {
                try reader.list { (reader) throws(JSONReader.Problem) in
                    guard parts.count < 2 else { throw reader.problem("a merge of more than two tokens") }
                    try reader.text(into: &text)
                    parts.append(text)
                }
            } else {
                try reader.text(into: &text)
                parts = text.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false).map([UInt8].init)
            }
            guard parts.count == 2 else { throw reader.problem("a merge that is not of two tokens") }
            merges.append(Merge(left: parts[0], right: parts[1]))
        }
    }

    private func check() throws(Refusal) {
        guard model.type ?? "BPE" == "BPE", !vocabulary.isEmpty else {
            throw Refusal("its model is \(model.type ?? "nameless"); only byte-pair encodings (BPE) are read")
        }
        func require(_ value: JSONTree?, _ name: String) throws(Refusal) {
            guard let value, !value.isNull, value.text != "", Double(value.word ?? "") != 0 else { return }
            throw Refusal("its model has \(name), which is not read")
        }
        try require(model.dropout, "dropout")
        try require(model.prefix, "continuing_subword_prefix")
        try require(model.suffix, "end_of_word_suffix")
    }

    // MARK: Tokens beside the model's

    private mutating func readAddedTokens(_ tree: JSONTree?) throws(Refusal) {
        for token in tree?.list ?? [] {
            guard let id = token["id"]?.integer, let content = token["content"]?.text, !content.isEmpty,
                (0..<Self.mostTokens).contains(id)
            else {
                throw Refusal(
                    "added_tokens: one has no content, or no id from 0 to \(Self.mostTokens - 1); the file is damaged")
            }
            let isSpecial = token["special"]?.flag ?? false
            addedTokens.append(
                AddedToken(
                    id: Int32(id), content: [UInt8](content.utf8), isSpecial: isSpecial,
                    isNormalized: token["normalized"]?.flag ?? !isSpecial,
                    isSingleWord: token["single_word"]?.flag ?? false,
                    takesSpaceBefore: token["lstrip"]?.flag ?? false, takesSpaceAfter: token["rstrip"]?.flag ?? false))
        }
    }

    /// Text is encoded without a template, but it tells which tokens begin and end a text.
    private mutating func readTemplate(_ tree: JSONTree?) {
        guard let tree else { return }
        if tree.type == "Sequence" {
            for part in tree["processors"]?.list ?? [] { readTemplate(part) }
        }
        guard tree.type == "TemplateProcessing" else { return }
        var isBehind = false
        for part in tree["single"]?.list ?? [] {
            if part["Sequence"] != nil {
                isBehind = true
            } else if let name = part["SpecialToken"]?["id"]?.text {
                if isBehind {
                    tokenBehindText = tokenBehindText ?? [UInt8](name.utf8)
                } else {
                    tokenBeforeText = tokenBeforeText ?? [UInt8](name.utf8)
                }
            }
        }
    }
}
