import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionSupport

/// Does the parts of a suite; all ranks do each of them together.
struct SuiteWork {
    let suite: SuiteEvaluation
    let source: SuiteSource
    let directory: SuiteDirectory
    let group: any Collectives
    let ranksOnHost: Int

    /// - Parameters:
    ///   - digest: Of what the part is computed from; rank 0 has it.
    ///   - model: Loads the model when it is asked for first.
    /// - Returns: The report; on rank 0 at least.
    func report(of part: SuitePart, digest: String, model: () throws -> LoadedModel) throws -> (any Encodable)? {
        let threads = suite.model.threads
        switch part {
        case .pictures: return try draw(with: try model(), digest)
        case .captions: return try describe(with: try model())
        case .cider:
            var report: CaptionEvaluation.Report?
            try group.agree("comparing captions") {
                guard group.rank == 0 else { return }
                report = try CaptionEvaluation(references: directory.references, candidates: directory.captions).run()
            }
            return report
        case .frechet:
            var evaluation = FrechetEvaluation(real: directory.real, made: directory.pictures)
            if case .file(let path)? = suite.features { evaluation.weights = path }
            evaluation.variant = suite.variant
            evaluation.threads = threads
            return try evaluation.run(group, ranksOnHost: ranksOnHost)
        case .clipScore:
            var evaluation = ClipScoreEvaluation(pictures: directory.pictures, model: suite.clip ?? "")
            evaluation.threads = threads
            return try evaluation.run(group, ranksOnHost: ranksOnHost)
        case .composition: return try CompositionEvaluation(.folder(directory.pictures)).run(group)
        case .perplexity(let file):
            var evaluation = PerplexityEvaluation(model: suite.model, files: [file])
            evaluation.context = suite.context
            return try evaluation.run(group, model: model)
        case .ranked(let file): return try RankedEvaluation(model: suite.model, task: file).run(group, model: model)
        }
    }

    private struct Count: Encodable {
        let pictures: Int
    }

    /// Draws the first caption of each image, beside the image itself.
    private func draw(with model: LoadedModel, _ digest: String) throws -> Count {
        var drawing: PromptDrawing?
        try group.agree("preparing to draw") {
            let drawer = try PromptDrawing(model, suite.settings)
            if let dataset = source.dataset { try drawer.check(dataset) }
            drawing = drawer
            if group.rank == 0 { try directory.beginPictures(digest) }
        }
        guard let drawing, let dataset = source.dataset else {
            preconditionFailure("all ranks agreed to draw without what draws")
        }
        let images = source.images
        _ = try group.shared(
            images.indices.groupsOfPictures, title: "drawing", work: "drawing pictures",
            site: "drawn pictures"
        ) { range in
            let names = range.map { PromptDrawing.name($0) }
            let places = [directory.pictures, directory.real].flatMap { folder in names.map { Paths.join(folder, $0) } }
            if places.allSatisfy(Files.exists) { return [] }
            let drawn = try drawing.pictures(
                of: images[range].map { $0.captions[0] }, first: range.lowerBound, seed: suite.seed)
            for (image, one) in zip(images[range], drawn) {
                let real = drawing.picture(of: try dataset.image(image.number))
                try drawing.write(one, to: Paths.join(directory.pictures, one.record.file))
                try AtomicFile.write(
                    try PNG.encode(rgb: real.rgb, width: real.width, height: real.height),
                    to: Paths.join(directory.real, one.record.file), durable: false)
            }
            return []
        }
        try group.agree("listing the pictures") {
            guard group.rank == 0 else { return }
            let lines = try images.enumerated().map { number, image in
                try JSONText.line(["file": PromptDrawing.name(number), "prompt": image.captions[0]]) + "\n"
            }
            try AtomicFile.write(lines.joined().utf8, to: Paths.join(directory.pictures, "prompts.jsonl"))
        }
        return Count(pictures: images.count)
    }

    private struct Caption: Encodable {
        let image_id: Int
        let caption: String
    }

    /// Says what is on each image.
    private func describe(with model: LoadedModel) throws -> Count {
        guard let dataset = source.dataset else { preconditionFailure("a suite without images has no captions") }
        let text = suite.text
        // The tokens of each, and -1 where there are no more.
        let width = text.maximumTokens, images = source.images
        let tokens = try group.shared(
            images.indices.map { $0 * width..<($0 + 1) * width }, title: "describing", work: "describing pictures",
            site: "descriptions"
        ) { range in
            let image = try dataset.image(images[range.lowerBound / width].number)
            let tokens = try model.generator.caption(of: image, text, seed: 0)
            return tokens.map { Double($0) } + Array(repeating: -1, count: width - tokens.count)
        }
        try group.agree("writing the captions") {
            guard group.rank == 0 else { return }
            let said = try images.indices.map { number in
                let own = tokens[number * width..<(number + 1) * width].filter { $0 >= 0 }.map { Int32($0) }
                return Caption(image_id: number, caption: try model.tokenizer.decode(own))
            }
            let known = images.enumerated().flatMap { number, image in
                image.captions.map { Caption(image_id: number, caption: $0) }
            }
            try AtomicFile.write(try JSONText.line(said).utf8, to: directory.captions)
            try AtomicFile.write(try JSONText.line(known).utf8, to: directory.references)
        }
        return Count(pictures: images.count)
    }
}
