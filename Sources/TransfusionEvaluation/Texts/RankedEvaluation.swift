import Foundation
import TransfusionCheckpoint
import TransfusionConfig
public import TransfusionCore
import TransfusionData
public import TransfusionInference
import TransfusionSupport

/// Whether a model finds the right one of several answers the likeliest: all of `tf-eval ranked`.
///
/// ### References
/// Tasks of the kind `multiple_choice` of EleutherAI's lm-evaluation-harness, whose scores these are.
public struct RankedEvaluation: Sendable {
    public var model: LoadedModel.Request
    /// A file with one question a line: `{"context", "choices", "gold"}` or `{"contexts", "continuation", "gold"}`.
    public var task: String
    /// What stands between context and answer.
    public var delimiter = " "

    public init(model: LoadedModel.Request, task: String) {
        self.model = model
        self.task = task
    }

    public struct Report: Encodable, Sendable, Equatable {
        /// By the name of the task, each score by its name, as `acc,none`.
        public let results: [String: [String: Double]]
        public let questions: Int
        /// Answers that did not fit into the model's context with theirs, which was cut at its beginning.
        public let truncated: Int
    }

    struct Question {
        /// Context and answer of each choice.
        let choices: [(context: String, answer: String)]
        /// What the lengths are taken of; empty where only the contexts differ.
        let lengths: [String]
        let gold: Int
    }

    private static let largestFile = 1 << 30
    private static let example = #"{"context": "The sky is", "choices": ["blue", "a fish"], "gold": 0}"#

    /// All ranks of the group call it.
    /// - Throws: `SharedFailure` with a line that names the file, line and key.
    public func run(
        _ group: any Collectives = SingleRank(), ranksOnHost: Int = 1, warn: (String) -> Void = { _ in }
    ) throws -> Report {
        try run(group) { try SharedEvaluation.load(model, group, ranksOnHost: ranksOnHost, warn: warn) }
    }

    /// - Parameter model: Gives the model, on all ranks.
    func run(_ group: any Collectives, model: () throws -> LoadedModel) throws -> Report {
        var questions: [Question] = []
        try group.agree("reading the questions") {
            questions = try JSONRows.read(task, limit: Self.largestFile, example: Self.example).map {
                try question($0.members, $0.source)
            }
        }
        let loaded = try model()
        var items: [TextScorer.Item] = []
        var truncated = 0
        try group.agree("cutting the questions into tokens") {
            for choice in questions.flatMap(\.choices) {
                let (item, isWhole) = try Self.item(choice.context, choice.answer, loaded)
                items.append(item)
                if !isWhole { truncated += 1 }
            }
        }
        let shared = SharedEvaluation(model: TextScorer(loaded), group: group, title: "ranking answers")
        let scores = try shared.logLikelihoods(items)
        return Report(
            results: [Paths.stem(of: task): Self.results(questions, scores)], questions: questions.count,
            truncated: truncated)
    }

    private func question(_ members: [String: JSONValue], _ source: String) throws -> Question {
        func texts(_ key: String) throws -> [String] {
            guard case .array(let values)? = members[key], values.count >= 2, values.allSatisfy({ $0.string != nil })
            else {
                throw CommandFailure("\(source): \"\(key)\" must be a list of two texts or more")
            }
            return values.compactMap(\.string)
        }
        func text(_ key: String) throws -> String {
            guard let text = members[key]?.string else { throw CommandFailure("\(source): \"\(key)\" must be a text") }
            return text
        }
        let choices: [(context: String, answer: String)], lengths: [String]
        if members["contexts"] != nil {
            let continuation = try text("continuation")
            choices = try texts("contexts").map { ($0, delimiter + continuation) }
            lengths = []
        } else {
            let context = try text("context")
            lengths = try texts("choices")
            choices = lengths.map { (context, delimiter + $0) }
        }
        guard let gold = members["gold"]?.integer, choices.indices.contains(gold) else {
            throw CommandFailure("\(source): \"gold\" must be the number of a choice, from 0 to \(choices.count - 1)")
        }
        if let empty = choices.firstIndex(where: { $0.answer.isEmpty }) {
            throw CommandFailure("\(source): answer \(empty) is empty")
        }
        if let empty = lengths.firstIndex(of: "") { throw CommandFailure("\(source): choice \(empty) is empty") }
        return Question(choices: choices, lengths: lengths, gold: gold)
    }

    /// Spaces at the end of the context go over to the answer, whose tokens are those that the whole has more than the context.
    private static func item(
        _ context: String, _ answer: String, _ loaded: LoadedModel
    ) throws -> (item: TextScorer.Item, isWhole: Bool) {
        let tokenizer = loaded.tokenizer
        let spaces = context.reversed().prefix(while: \.isWhitespace).count
        let begin = String(context.dropLast(spaces)), end = String(context.suffix(spaces)) + answer
        let before = begin.isEmpty ? [] : try tokenizer.encode(begin)
        let whole = try tokenizer.encode(begin + end)
        let scored = max(0, whole.count - before.count)
        // The model sees as much of the end as it has rows for.
        let tokens = ([tokenizer.beginOfText] + whole).suffix(loaded.generator.contextLength + 1)
        return (
            TextScorer.Item(tokens: Array(tokens), scored: min(scored, tokens.count - 1)),
            tokens.count == whole.count + 1
        )
    }

    /// The shares of right answers, and their standard errors.
    private static func results(_ questions: [Question], _ scores: [Double]) -> [String: Double] {
        var right: [String: [Double]] = [:]
        var start = 0
        for question in questions {
            let scores = Array(scores[start..<start + question.choices.count])
            start += scores.count
            func count(_ name: String, _ values: [Double]) {
                // Of equal ones the first counts.
                let best = values.indices.reduce(0) { values[$1] > values[$0] ? $1 : $0 }
                right[name, default: []].append(best == question.gold ? 1 : 0)
            }
            count("acc", scores)
            guard !question.lengths.isEmpty else { continue }
            count("acc_norm", zip(scores, question.lengths).map { $0 / Double($1.unicodeScalars.count) })
            count("acc_bytes", zip(scores, question.lengths).map { $0 / Double($1.utf8.count) })
        }
        var results: [String: Double] = [:]
        for (name, values) in right {
            let count = Double(values.count)
            let mean = values.reduce(0, +) / count
            results[name + ",none"] = mean
            guard values.count > 1 else { continue }
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
            results[name + "_stderr,none"] = (variance / count).squareRoot()
        }
        return results
    }
}
