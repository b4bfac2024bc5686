import Foundation
import Testing
import TransfusionConfig
import TransfusionData
import _TestUtilities

@testable import TransfusionEvaluation

struct CaptionEvaluationTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// What pycocoevalcap makes of the captions of Tests/Fixtures/captions.
    private struct Expected: Decodable {
        let scores: [String: Double]
        let references: [[String]]
        let candidates: [String]
    }

    private struct Caption: Decodable {
        let image_id: Int
        let caption: String
    }

    private func read<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: Data(contentsOf: URL(filePath: Fixtures.path("captions/" + name))))
    }

    private func file(_ name: String, _ text: String) throws -> String {
        let path = directory.file(name)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func problem(references: String, candidates: String) throws -> String {
        let evaluation = CaptionEvaluation(
            references: try file("references.json", references), candidates: try file("candidates.json", candidates))
        do {
            _ = try evaluation.run()
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func captionsAreCutAsByPycocoevalcap() throws {
        let expected: Expected = try read("expected.json")
        let candidates: [Caption] = try read("candidates.json")
        #expect(candidates.count == 200 && expected.candidates.count == 200)
        for caption in candidates {
            let words = PTBTokenizer.words(caption.caption).joined(separator: " ")
            #expect(words == expected.candidates[caption.image_id], "\(caption.caption)")
        }
        struct Annotations: Decodable { let annotations: [Caption] }
        let references: Annotations = try read("references.json")
        for (image, captions) in Dictionary(grouping: references.annotations, by: \.image_id) {
            let words = captions.map { PTBTokenizer.words($0.caption).joined(separator: " ") }
            #expect(words == expected.references[image])
        }
    }

    @Test func scoresAgreeWithPycocoevalcap() throws {
        let expected: Expected = try read("expected.json")
        let report = try CaptionEvaluation(
            references: Fixtures.path("captions/references.json"),
            candidates: Fixtures.path("captions/candidates.json")
        ).run()
        let found = try JSONDecoder().decode([String: Double].self, from: JSONEncoder().encode(report))
        #expect(expected.scores.count == 6)
        for (name, value) in expected.scores {
            let score = try #require(found[name])
            #expect(abs(score - value) < 1e-9, "\(name): \(score) and \(value)")
        }
        #expect(found["images"] == 200 && found["images_without_candidate"] == 0)
    }

    /// Computed with pycocoevalcap's CiderScorer.
    @Test func aSmallExampleHasItsCIDEr() {
        let images: [(String, [String])] = [
            (
                "a red circle above a blue square",
                ["a red circle above a blue square", "there is a red circle over a blue square"]
            ),
            (
                "two green circles next to a yellow triangle",
                ["two green triangles next to a yellow circle", "a yellow circle beside two green triangles"]
            ),
            ("a dog on a mat", ["a black cat sits on a mat", "the cat is on the mat", "a cat on a mat"]),
            ("blue", ["a blue square", "one blue square in the middle"]),
        ]
        let scores = CaptionScores(
            images.map { candidate, references in
                CaptionScores.Image(
                    candidate: PTBTokenizer.words(candidate), references: references.map(PTBTokenizer.words))
            })
        #expect(abs(scores.cider - 3.3701478417738957) < 1e-12)
    }

    @Test(arguments: [
        ("He can't, won't and cannot.", "he ca n't wo n't and can not"), ("A man's dog-house", "a man 's dog-house"),
        ("(left) [right]", "-lrb- left -rrb- -lsb- right -rsb-"), ("£5, €6 and 5¢", "# 5 $ 6 and 5 cents"),
        ("the colour of 2 1/2 pies", "the colour of 2\u{A0}1/2 pies"), ("", ""), ("...", ""), ("😀 ok\nthen", "ok then"),
        ("don’t “stop” …", "do n't stop"), ("what?! no!!", "what ?! no !!"),
        ("<br /> &amp; &nbsp;x", "<br\u{A0}/> & x"),
    ])
    func peculiaritiesOfTheTokenizer(_ caption: String, _ words: String) {
        #expect(PTBTokenizer.words(caption).joined(separator: " ") == words)
    }

    /// Nothing that stands in a caption may end the program or take forever.
    @Test func anyTextIsCut() {
        var random = SystemRandomNumberGenerator()
        let pieces = [
            "<", "&", "'", "n't", ".", "-", "/", "1", "$", "(", "@", "http://", "a", "é", "\u{AD}", "😀", " ",
            "\u{2019}", "#", "A.",
        ]
        for _ in 0..<2000 {
            let text = (0..<12).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            let tokens = PTBTokenizer.tokens(text)
            #expect(!tokens.contains(""), "\(text)")
        }
        #expect(PTBTokenizer.tokens(String(repeating: "a-", count: 2000)).count == 2)
    }

    @Test func imagesNeedOneCandidateAndAReference() throws {
        let references = #"{"annotations": [{"image_id": 1, "caption": "a"}, {"image_id": "x", "caption": "b"}]}"#
        let one = #"[{"image_id": 1, "caption": "a"}]"#
        #expect(try problem(references: references, candidates: one).isEmpty)
        for (candidates, hint) in [
            (#"[{"image_id": 2, "caption": "a"}]"#, "candidates.json: image 2 has no reference in"),
            (#"[{"image_id": "y", "caption": "a"}]"#, "image 'y' has no reference"),
            (#"[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]"#, "image 1 has two captions"),
            (#"[{"image_id": 1}]"#, "[0] has no \"caption\""), ("[]", "has no captions"),
            ("{}", "has no \"annotations\""),
            (#"[{"image_id": 1, "caption": 5}]"#, "[0].caption has the wrong type"), ("", "is no list of captions"),
            (#"[{"image_id": [], "caption": ""}]"#, "[0].image_id has the wrong type"),
        ] {
            let found = try problem(references: references, candidates: candidates)
            #expect(found.contains(hint) && !found.contains("\n"), "\(candidates): \(found)")
        }
        #expect(try problem(references: "[1", candidates: one).contains("references.json: is no list"))
    }

    @Test func imagesWithoutCandidateAreCountedAndWordsWritten() throws {
        var evaluation = CaptionEvaluation(
            references: try file(
                "r.json", #"[{"image_id": 1, "caption": "a dog"}, {"image_id": "x", "caption": "b"}]"#),
            candidates: try file("c.json", #"[{"image_id": "x", "caption": "It's (B)!"}]"#))
        evaluation.words = directory.file("words.jsonl")
        let report = try evaluation.run()
        #expect(report.images == 1 && report.imagesWithoutCandidate == 1 && report.references == 1)
        // Every word is in all images, so none says anything.
        #expect(report.scores.cider == 0)
        let words = try String(contentsOfFile: directory.file("words.jsonl"), encoding: .utf8)
        #expect(words == "{\"image_id\":\"x\",\"words\":[\"it\",\"'s\",\"-lrb-\",\"b\",\"-rrb-\"]}\n")
    }
}
