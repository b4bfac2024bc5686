import Foundation
import Testing
import _TestUtilities

/// `tf-eval cider` as a process.
struct CiderCommandTests {
    private let command = Command("tf-eval")
    private let files = [
        "--references", Fixtures.path("captions/references.json"), "--candidates",
        Fixtures.path("captions/candidates.json"),
    ]

    @Test func printsATableOrJSON() throws {
        let table = try command.run(["cider"] + files)
        #expect(table.status == 0 && table.errors.isEmpty)
        for name in ["200 images", "CIDEr-D", "BLEU-4", "ROUGE-L"] { #expect(table.output.contains(name)) }
        let json = try command.run(["cider"] + files + ["--json"])
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Double])
        #expect(
            Set(report.keys) == [
                "cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "images", "references",
                "images_without_candidate",
            ])
    }

    @Test func aMissingFileIsOneLine() throws {
        let result = try command.run(["cider", "--references", "/no/such/file", "--candidates", files[3]])
        #expect(result.status == 1 && result.output.isEmpty)
        #expect(result.errors.hasPrefix("error: /no/such/file: ") && result.errors.split(separator: "\n").count == 1)
        #expect(try command.run(["cider", "--references", files[1]]).status == 2)
    }
}
