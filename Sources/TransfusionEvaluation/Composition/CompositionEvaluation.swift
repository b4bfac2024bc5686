import TransfusionConfig
public import TransfusionCore
import TransfusionData
import TransfusionInference

/// Whether pictures show what, how many, in which colours and where, as their prompts say: all of `tf-eval composition`.
///
/// What GenEval measures with networks of 80 kinds of things is exact for scenes of shapes, which `SceneFinder` finds.
///
/// ### References
/// Ghosh, Hajishirzi and Schmidt 2023, "GenEval: an object-focused framework for evaluating text-to-image alignment".
public struct CompositionEvaluation: Sendable {
    public enum Pictures: Sendable {
        /// A folder in GenEval's layout, or with `prompts.jsonl` as `tf-sample image` writes it.
        case folder(String)
        /// Those that a model draws.
        case drawn(CompositionDrawing)
    }

    public var pictures: Pictures

    public init(_ pictures: Pictures) {
        self.pictures = pictures
    }

    /// How many pictures are right, of those whose prompt asks for it.
    public struct Share: Encodable, Sendable, Equatable {
        public let right: Int
        public let total: Int
        public let accuracy: Double

        /// Nil when no prompt asks for it.
        init?(right: Int, total: Int) {
            guard total > 0 else { return nil }
            self.right = right
            self.total = total
            accuracy = Double(right) / Double(total)
        }
    }

    public struct Report: Encodable, Sendable, Equatable {
        public let prompts: Int
        public let pictures: Int
        /// Pictures whose prompt is none of a scene of shapes; they can be exported only.
        public let unscored: Int
        public let presence: Share?
        public let count: Share?
        public let colour: Share?
        public let position: Share?
        /// Pictures of which everything is right.
        public let all: Share?
    }

    /// All ranks of the group call it, and share the pictures.
    /// - Throws: `SharedFailure` with one line that names the file or option.
    public func run(
        _ group: any Collectives = SingleRank(), ranksOnHost: Int = 1, warn: (String) -> Void = { _ in }
    ) throws -> Report {
        switch pictures {
        case .folder(let folder):
            var listed: (prompts: [CompositionPrompt], pictures: [CompositionPicture]) = ([], [])
            try group.agree("reading the list of pictures") {
                listed = try CompositionPicture.list(folder)
                guard listed.prompts.contains(where: { $0.scene != nil }) else {
                    throw CommandFailure(
                        "\(folder): none of the prompts is of a scene of shapes, as in 'two red circles'; the others are for "
                            + "GenEval's own scorer", .wrongUse)
                }
            }
            let (prompts, pictures) = listed
            return try report(prompts, of: pictures.map(\.prompt), group) { range in
                try pictures[range].map { try PictureFile.read($0.path) }
            }
        case .drawn(let drawing):
            var prompts: [CompositionPrompt] = []
            try group.agree("reading the prompts") { prompts = try drawing.readPrompts() }
            let model = try SharedEvaluation.load(drawing.model, group, ranksOnHost: ranksOnHost, warn: warn)
            var drawer: PromptDrawing?
            try group.agree("preparing to draw") {
                drawer = try PromptDrawing(model, drawing.settings)
                if group.rank == 0 { try drawing.makeDirectories(prompts) }
            }
            guard let drawer else { preconditionFailure("all ranks agreed to draw without what draws") }
            let numbers = (0..<prompts.count * drawing.samples).map { $0 / drawing.samples }
            return try report(prompts, of: numbers, group) { try drawing.pictures($0, of: prompts, drawer) }
        }
    }

    /// - Parameters:
    ///   - numbers: The prompt of each picture.
    ///   - pictures: Gives those of a range.
    private func report(
        _ prompts: [CompositionPrompt], of numbers: [Int], _ group: any Collectives,
        pictures: (Range<Int>) throws -> [Picture]
    ) throws -> Report {
        let found = try group.shared(
            numbers.indices.groupsOfPictures, title: "composition", work: "judging pictures",
            site: "aspects of pictures"
        ) { range in
            zip(numbers[range], try pictures(range)).map { number, picture in
                let right = prompts[number].scene?.rightAspects(of: SceneFinder.objects(in: picture))
                return Double(right?.rawValue ?? 0)
            }
        }
        let judged = zip(numbers, found).compactMap { number, value in
            prompts[number].scene.map { (asked: $0.aspects, right: SceneAspects(rawValue: Int(value))) }
        }
        func share(_ aspect: SceneAspects) -> Share? {
            let asked = judged.filter { $0.asked.contains(aspect) }
            return Share(right: asked.count { $0.right.contains(aspect) }, total: asked.count)
        }
        return Report(
            prompts: prompts.count, pictures: numbers.count, unscored: numbers.count - judged.count,
            presence: share(.presence), count: share(.count), colour: share(.colour), position: share(.position),
            all: Share(right: judged.count { $0.asked == $0.right }, total: judged.count))
    }
}
