import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
public import TransfusionInference
import TransfusionSupport

/// How pictures are drawn whose composition is measured.
public struct CompositionDrawing: Sendable {
    public enum Prompts: Sendable, Equatable {
        /// The captions of a split of a data set, each once.
        case dataset(String, split: String)
        /// A file in the form of GenEval's `evaluation_metadata.jsonl`.
        case file(String)
    }

    public var model: LoadedModel.Request
    public var prompts: Prompts
    public var settings = ImageSettings()
    /// Picture i uses `seed + i`.
    public var seed: UInt64 = 0
    /// Pictures of each prompt.
    public var samples = 1
    /// At most so many prompts; nil draws all.
    public var limit: Int?
    /// A new directory that keeps the pictures as GenEval's scorer reads them; nil keeps none.
    public var output: String?

    public init(model: LoadedModel.Request, prompts: Prompts) {
        self.model = model
        self.prompts = prompts
    }

    private static let mostPictures = 1_000_000

    /// - Throws: `CommandFailure` when there is nothing to draw, or nowhere to put it.
    func readPrompts() throws -> [CompositionPrompt] {
        guard samples > 0 else { throw SettingError("samples", "must be above 0, not \(samples)") }
        if let output { try PromptDrawing.requireFree(output) }
        var all: [CompositionPrompt] = []
        switch prompts {
        case .file(let path):
            all = try JSONRows.read(path, limit: 1 << 28, example: CompositionPrompt.example).map {
                try CompositionPrompt($0.members, $0.source)
            }
        case .dataset(let path, let split):
            let dataset = try PackedDataset(path)
            var seen: Set<String> = []
            for index in try dataset.split(split).pairRange {
                let pair = try dataset.pair(index)
                guard pair.original == nil else { continue }
                let caption = try dataset.captionText(pair)
                if seen.insert(caption).inserted { all.append(CompositionPrompt(caption)) }
            }
            guard !all.isEmpty else {
                throw CommandFailure("\(path): has no captions in its split \"\(split)\"; name another", .wrongUse)
            }
        }
        all = Array(all.prefix(limit ?? .max))
        guard all.count * samples <= Self.mostPictures else {
            throw CommandFailure("\(all.count * samples) pictures are wanted; at most \(Self.mostPictures) are drawn")
        }
        guard output != nil || all.contains(where: { $0.scene != nil }) else {
            throw CommandFailure(
                "none of the prompts is of a scene of shapes, as in 'two red circles'; pictures of others can be kept in a new "
                    + "directory for GenEval's scorer", .wrongUse)
        }
        return all
    }

    /// Makes the directory of each prompt, with GenEval's description of it.
    func makeDirectories(_ prompts: [CompositionPrompt]) throws {
        guard let output else { return }
        for (number, prompt) in prompts.enumerated() {
            let directory = Paths.join(output, CompositionPicture.number(number))
            try Directories.make(Paths.join(directory, "samples"))
            try AtomicFile.write(
                (try JSONText.line(prompt.metadata) + "\n").utf8, to: Paths.join(directory, "metadata.jsonl"),
                durable: false)
        }
    }

    /// Draws the pictures of a range, and keeps them where they are wanted.
    func pictures(
        _ range: Range<Int>, of prompts: [CompositionPrompt], _ drawing: PromptDrawing
    ) throws -> [Picture] {
        let drawn = try drawing.pictures(
            of: range.map { prompts[$0 / samples].text }, first: range.lowerBound, seed: seed)
        if let output {
            for (number, one) in zip(range, drawn) {
                let place = [CompositionPicture.number(number / samples), "samples"].reduce(output, Paths.join)
                try drawing.write(
                    one, to: Paths.join(place, CompositionPicture.number(number % samples) + ".png"))
            }
        }
        return drawn.map(\.picture)
    }
}
