import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct CiderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cider",
        abstract: "Compares captions with those that people wrote: CIDEr-D, BLEU, ROUGE-L.",
        discussion: """
            tf-eval cider --references captions_val2014.json --candidates results.json

            Both files have the forms of COCO: the references its annotations, the
            candidates [{"image_id": 1, "caption": "a cat on a mat"}, ...] with one
            caption an image. Words are cut as by Stanford's PTBTokenizer 3.4.1, and
            scores computed as by pycocoevalcap.
            """)

    @Option(help: "A JSON file with the captions that people wrote.")
    var references: String

    @Option(help: "A JSON file with the captions to compare.")
    var candidates: String

    @Option(help: "Write the words of each candidate into this file, one JSON object a line.")
    var words: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        var evaluation = CaptionEvaluation(references: references, candidates: candidates)
        evaluation.words = words
        let report = try evaluation.run()
        if json { return try printJSON(report) }
        let scores = report.scores
        print(
            "\(report.images) images, \(report.references) references"
                + (report.imagesWithoutCandidate > 0
                    ? "; \(report.imagesWithoutCandidate) images without a candidate are left out" : ""))
        print(String(format: "CIDEr-D  %.4f  (%.1f as papers print it)", scores.cider, 100 * scores.cider))
        for (order, value) in scores.bleu.enumerated() { print(String(format: "BLEU-%d   %.4f", order + 1, value)) }
        print(String(format: "ROUGE-L  %.4f", scores.rougeL))
        if report.images == 1 { print("CIDEr is 0 for one image: it weighs words by how few images have them") }
    }
}
