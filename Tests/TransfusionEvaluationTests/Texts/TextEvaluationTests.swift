import Foundation
import Testing
import TransfusionConfig
import TransfusionInference
import _TestUtilities

@testable import TransfusionEvaluation

/// Perplexity and ranked answers beside what PyTorch makes of the same model, texts and questions.
struct TextEvaluationTests {
    private let directory: TemporaryDirectory
    private let expected: [String: [String: Double]]
    private let request: LoadedModel.Request

    init() throws {
        directory = try TemporaryDirectory()
        let file = URL(filePath: Fixtures.path("texts/expected.json"))
        expected = try JSONDecoder().decode([String: [String: Double]].self, from: Data(contentsOf: file))
        var request = LoadedModel.Request(checkpoint: Fixtures.path("texts"))
        request.precision = .f32
        request.threads = 2
        self.request = request
    }

    private func file(_ name: String, _ text: String) throws -> String {
        let path = directory.file(name)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func problem<Report>(_ work: () throws -> Report) -> String {
        do {
            _ = try work()
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test(arguments: [24, 7]) func perplexityAgreesWithPyTorch(_ stride: Int) throws {
        var evaluation = PerplexityEvaluation(model: request, files: [Fixtures.path("texts/documents.jsonl")])
        evaluation.context = 24
        evaluation.stride = stride
        let report = try evaluation.run()
        let found = try JSONDecoder().decode([String: Double].self, from: JSONEncoder().encode(report))
        let reference = try #require(expected["stride_\(stride)"])
        for (name, value) in reference {
            #expect(abs(try #require(found[name]) / value - 1) < 1e-5, "\(name)")
        }
        #expect(report.documents == 4 && report.context == 24 && report.stride == stride)
    }

    @Test func rankedAnswersAgreeWithPyTorch() throws {
        let report = try RankedEvaluation(model: request, task: Fixtures.path("texts/questions.jsonl")).run()
        let found = try #require(report.results["questions"])
        let reference = try #require(expected["ranked"])
        #expect(Set(found.keys) == Set(reference.keys))
        for (name, value) in reference { #expect(abs(try #require(found[name]) - value) < 1e-9, "\(name)") }
        #expect(report.questions == 24 && report.truncated == 0)
    }

    @Test func everyTokenIsPredictedOnce() {
        let tokens = (10..<33).map { Int32($0) }
        for (context, stride) in [(8, 8), (8, 3), (8, 1), (1, 1), (23, 23), (40, 40)] {
            let windows = PerplexityEvaluation.windows(tokens, prefix: 1, context: context, stride: stride)
            #expect(windows.flatMap { $0.tokens.suffix($0.scored) } == tokens, "\(context), \(stride)")
            #expect(windows.allSatisfy { $0.rows <= context })
            #expect(windows.dropFirst().allSatisfy { $0.rows == context && $0.scored <= stride })
        }
        #expect(PerplexityEvaluation.windows([], prefix: 1, context: 8, stride: 8).isEmpty)
        #expect(["a b", " a\n\tb ", "", "a"].map(PerplexityEvaluation.wordCount) == [2, 4, 1, 1])
    }

    @Test func groupsHoldWholeItems() {
        let items = [3000, 1000, 97, 5000, 1].map { rows in
            TextScorer.Item(tokens: [Int32](repeating: 3, count: rows + 1), scored: 1)
        }
        #expect(SharedEvaluation.groups(items) == [0..<2, 2..<3, 3..<4, 4..<5])
        #expect(SharedEvaluation.groups([]).isEmpty)
    }

    /// The end of a context that is too long counts.
    @Test func aLongContextIsCutAtItsBeginning() throws {
        let long = String(repeating: "red circle ", count: 60)
        let lines = [long, "blue square " + long].map {
            #"{"context": "\#($0)", "choices": ["heart", "blue diamond"], "gold": 0}"#
        }
        let reports = try lines.enumerated().map { index, line in
            try RankedEvaluation(model: request, task: file("task\(index).jsonl", line)).run()
        }
        #expect(reports[0].truncated == 2 && reports[1].truncated == 2)
        #expect(reports[0].results["task0"] == reports[1].results["task1"])
    }

    @Test func questionsAreRefusedWithTheirLine() throws {
        let right = #"{"context": "a", "choices": ["b", "c"], "gold": 1}"#
        for (line, hint) in [
            (#"{"context": "a", "choices": ["b"], "gold": 0}"#, "\"choices\" must be a list of two texts"),
            (#"{"context": "a", "choices": ["b", 1], "gold": 0}"#, "\"choices\" must be a list of two texts"),
            (
                #"{"context": "a", "choices": ["b", "c"], "gold": 2}"#,
                "\"gold\" must be the number of a choice, from 0 to 1"
            ),
            (#"{"context": "a", "choices": ["b", "c"]}"#, "\"gold\" must be"), ("x", "is no JSON object"),
            (#"{"choices": ["b", "c"], "gold": 0}"#, "\"context\" must be a text"),
            (#"{"contexts": ["b", "c"], "gold": 0}"#, "\"continuation\" must be a text"),
            (#"{"context": "a", "choices": ["b", ""], "gold": 0}"#, "choice 1 is empty"),
        ] {
            let task = try file("task.jsonl", right + "\n" + line)
            let found = problem { try RankedEvaluation(model: request, task: task).run() }
            #expect(found.contains("task.jsonl:2: ") && found.contains(hint), "\(found)")
        }
        let empty = try file("empty.txt", "")
        #expect(problem { try PerplexityEvaluation(model: request, files: [empty]).run() }.contains("there is no text"))
        let noText = try file("no.jsonl", #"{"txt": "a"}"#)
        #expect(
            problem { try PerplexityEvaluation(model: request, files: [noText]).run() }.contains("no.jsonl:1: \"text\"")
        )
        var evaluation = PerplexityEvaluation(model: request, files: [Fixtures.path("texts/documents.jsonl")])
        evaluation.stride = 65
        #expect(problem { try evaluation.run() }.contains("stride: must lie between 1 and the context of 64"))
        evaluation.context = 0
        #expect(problem { try evaluation.run() }.contains("context: must lie between 1 and"))
    }
}
