import Foundation
import TransfusionCheckpoint
import TransfusionConfig
public import TransfusionCore
import TransfusionData
public import TransfusionInference
import TransfusionSupport

/// How well a model predicts texts: all of `tf-eval perplexity`.
///
/// ### References
/// The windows are those of EleutherAI's lm-evaluation-harness (`get_rolling_token_windows`).
public struct PerplexityEvaluation: Sendable {
    public var model: LoadedModel.Request
    /// `.jsonl` files with one `{"text"}` a line, each a document; any other file is a document.
    public var files: [String]
    /// Rows that the model sees at once; nil takes the longest sequence that it was trained on.
    public var context: Int?
    /// Tokens that each window after the first predicts; nil takes the whole window.
    public var stride: Int?

    public init(model: LoadedModel.Request, files: [String]) {
        self.model = model
        self.files = files
    }

    public struct Report: Encodable, Sendable, Equatable {
        /// exp(−Σ ln p / tokens): comparable under one tokenizer only.
        public let tokenPerplexity: Double
        /// By words, as whitespace parts them; nil where it is too large for a number, as in writing without spaces.
        public let wordPerplexity: Double?
        public let bytePerplexity: Double
        public let bitsPerByte: Double
        public let documents: Int
        public let tokens: Int
        public let words: Int
        public let bytes: Int
        public let windows: Int
        public let context: Int
        public let stride: Int

        enum CodingKeys: String, CodingKey {
            case tokenPerplexity = "token_perplexity"
            case wordPerplexity = "word_perplexity"
            case bytePerplexity = "byte_perplexity"
            case bitsPerByte = "bits_per_byte"
            case documents, tokens, words, bytes, windows, context, stride
        }
    }

    private static let largestFile = 1 << 30
    private static let longestContext = 1 << 20

    /// All ranks of the group call it.
    /// - Throws: `SharedFailure` with a line that names the option, file and line.
    public func run(
        _ group: any Collectives = SingleRank(), ranksOnHost: Int = 1, warn: (String) -> Void = { _ in }
    ) throws -> Report {
        try run(group) { try SharedEvaluation.load(model, group, ranksOnHost: ranksOnHost, warn: warn) }
    }

    /// - Parameter model: Gives the model, on all ranks.
    func run(_ group: any Collectives, model: () throws -> LoadedModel) throws -> Report {
        let loaded = try model()
        let context = context ?? loaded.generator.contextLength
        let stride = stride ?? context
        var documents: [String] = [], items: [TextScorer.Item] = []
        var tokenCount = 0
        try group.agree("reading the texts") {
            guard (1...Self.longestContext).contains(context) else {
                throw SettingError("context", "must lie between 1 and \(Self.longestContext), not \(context)")
            }
            guard (1...context).contains(stride) else {
                throw SettingError("stride", "must lie between 1 and the context of \(context), not \(stride)")
            }
            documents = try files.flatMap(Self.read)
            for document in documents {
                let tokens = try loaded.tokenizer.encode(document)
                tokenCount += tokens.count
                items += Self.windows(
                    tokens, prefix: loaded.tokenizer.beginOfText, context: context, stride: stride)
            }
            guard tokenCount > 0 else {
                throw CommandFailure("\(files.joined(separator: ", ")): there is no text in it")
            }
        }
        let shared = SharedEvaluation(model: TextScorer(loaded), group: group, title: "perplexity")
        let loss = -(try shared.logLikelihoods(items).reduce(0, +))
        let bytes = documents.reduce(0) { $0 + $1.utf8.count }
        let words = documents.reduce(0) { $0 + Self.wordCount($1) }
        let wordPerplexity = exp(loss / Double(words))
        return Report(
            tokenPerplexity: exp(loss / Double(tokenCount)),
            wordPerplexity: wordPerplexity.isFinite ? wordPerplexity : nil,
            bytePerplexity: exp(loss / Double(bytes)), bitsPerByte: loss / Double(bytes) / log(2),
            documents: documents.count, tokens: tokenCount, words: words, bytes: bytes, windows: items.count,
            context: context, stride: stride)
    }

    private static func read(_ path: String) throws -> [String] {
        guard Paths.fileExtension(of: path) == "jsonl" else { return [try Files.readText(path, limit: largestFile)] }
        return try JSONRows.read(path, limit: largestFile, example: #"{"text": "once upon a time"}"#).map {
            row, source in
            guard let text = row["text"]?.string else { throw CommandFailure("\(source): \"text\" must be a text") }
            return text
        }
    }

    /// Every token is scored once: the first window predicts `context` tokens after the prefix, each later one `stride`
    /// more, with as many tokens before them as fit.
    static func windows(_ tokens: [Int32], prefix: Int32, context: Int, stride: Int) -> [TextScorer.Item] {
        guard !tokens.isEmpty else { return [] }
        let first = min(context, tokens.count)
        var items = [TextScorer.Item(tokens: [prefix] + tokens[..<first], scored: first)]
        var done = first
        while done < tokens.count {
            let end = min(tokens.count, done + stride)
            items.append(TextScorer.Item(tokens: Array(tokens[(end - context - 1)..<end]), scored: end - done))
            done = end
        }
        return items
    }

    /// The pieces between runs of whitespace, empty ones at the ends too, as in Python's `re.split(r"\s+", text)`.
    static func wordCount(_ text: String) -> Int {
        var count = 1, wasSpace = false
        for scalar in text.unicodeScalars {
            // Python's \s also takes the separators of ASCII.
            let isSpace = scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
            if isSpace, !wasSpace { count += 1 }
            wasSpace = isSpace
        }
        return count
    }
}
