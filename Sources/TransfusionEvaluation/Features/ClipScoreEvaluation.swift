import Foundation
import TransfusionCheckpoint
import TransfusionConfig
public import TransfusionCore
import TransfusionData
import TransfusionSupport

/// How well pictures go with their prompts by a CLIP model: all of `tf-eval clip-score`.
public struct ClipScoreEvaluation: Sendable {
    /// A folder with `prompts.jsonl`, each line with `file` and `prompt`, as `tf-sample image` writes it.
    public var pictures: String
    /// A CLIP model as Hugging Face's libraries write it.
    public var model: String
    /// Nil takes this rank's share of the processors.
    public var threads: Int?

    public init(pictures: String, model: String) {
        self.pictures = pictures
        self.model = model
    }

    public struct Report: Encodable, Sendable, Equatable {
        /// 100 times the mean cosine of a picture and its prompt, and not below 0.
        public let clipScore: Double
        /// The mean cosine itself.
        public let cosine: Double
        public let pairs: Int
        /// Prompts whose end was cut off because the model reads no more.
        public let cutPrompts: Int
        public let model: String

        enum CodingKeys: String, CodingKey {
            case clipScore = "clip_score"
            case cutPrompts = "cut_prompts"
            case cosine, pairs, model
        }
    }

    /// Pairs that pass through the model together: so many whatever the number of ranks, for the same bits.
    private static let pairsAtOnce = 8

    /// All ranks of the group call it, and share the pictures.
    /// - Throws: `SharedFailure` with one line that names the file.
    public func run(_ group: any Collectives = SingleRank(), ranksOnHost: Int = 1) throws -> Report {
        var opened: (model: CLIPModel, pairs: [Pair])?
        try group.agree("loading the model") {
            let pairs = try readPairs()
            opened = (
                try CLIPModel(model, threads: threads ?? max(1, CPUReport().cpuCount / max(1, ranksOnHost))), pairs
            )
        }
        guard let (clip, pairs) = opened else { preconditionFailure("all ranks agreed on a model that is not there") }
        let texts = pairs.map { clip.tokens($0.prompt) }
        let cosines = try group.shared(
            pairs.indices.parts(of: Self.pairsAtOnce), title: "CLIP score", work: "scoring pictures",
            site: "CLIP scores"
        ) { range in
            let seen = try clip.embeddings(of: try pairs[range].map { try Self.picture($0.path) })
            let read = try clip.embeddings(of: texts[range].map(\.ids))
            return zip(seen, read).map { picture, text in zip(picture, text).reduce(0) { $0 + $1.0 * $1.1 } }
        }
        guard cosines.allSatisfy(\.isFinite) else {
            throw SharedFailure(
                failure: CommandFailure("\(model): computes numbers that are not finite; its weights are damaged"))
        }
        let cosine = cosines.reduce(0, +) / Double(pairs.count)
        return Report(
            clipScore: max(0, 100 * cosine), cosine: cosine, pairs: pairs.count, cutPrompts: texts.count { $0.isCut },
            model: model)
    }

    /// The model looks at a square of it, for which the shorter side is resized: one that is a line would fill the memory.
    private static func picture(_ path: String) throws -> Picture {
        let picture = try PictureFile.read(path)
        guard max(picture.width, picture.height) <= 100 * min(picture.width, picture.height) else {
            throw CommandFailure("\(path): is \(picture.width) × \(picture.height), more than 100 to 1; leave it out")
        }
        return picture
    }

    private struct Pair {
        let path: String
        let prompt: String
    }

    private func readPairs() throws -> [Pair] {
        let list = Paths.join(pictures, "prompts.jsonl")
        guard Files.exists(list) else {
            throw CommandFailure(
                "\(pictures): has no prompts.jsonl, whose lines say {\"file\": \"000000.png\", \"prompt\": \"...\"}",
                .wrongUse)
        }
        let example = #"{"file": "000000.png", "prompt": "a red circle"}"#
        return try JSONRows.read(list, limit: 1 << 30, example: example).map { row, source in
            guard let file = row["file"]?.string, let prompt = row["prompt"]?.string else {
                throw CommandFailure("\(source): \"file\" and \"prompt\" must be texts, as in \(example)")
            }
            guard file == Paths.name(of: file), file != ".." else {
                throw CommandFailure("\(source): \"file\" must be the name of a picture beside it, not '\(file)'")
            }
            return Pair(path: Paths.join(pictures, file), prompt: prompt)
        }
    }
}
