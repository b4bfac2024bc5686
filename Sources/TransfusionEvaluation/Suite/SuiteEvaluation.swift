import Foundation
import TransfusionCheckpoint
import TransfusionConfig
public import TransfusionCore
import TransfusionData
public import TransfusionInference
import TransfusionSupport

/// The measures of the paper's Table 1 on a model, in one go: all of `tf-eval suite`.
///
/// It only calls the other measures, one after the other, and keeps what each has found in its directory; started again, it does what is
/// not there yet.
public struct SuiteEvaluation: Sendable {
    /// What finds features in pictures.
    public enum Features: Sendable, Equatable {
        /// The weights of Inception v3 that pytorch-fid distributes.
        case file(String)
        /// Weights that are always the same: the distance is no FID.
        case random
    }

    public var model: LoadedModel.Request
    /// Where parts and report go; nil takes `suite` in the run that the model is from.
    public var output: String?
    /// A data set, whose captions are drawn and pictures described; nil takes the first of the run.
    public var data: String?
    public var split = "validation"
    /// At most so many pictures; nil takes all.
    public var limit: Int?
    /// Files as `PerplexityEvaluation` reads them; none takes texts of the data set.
    public var texts: [String] = []
    /// Files as `RankedEvaluation` reads them.
    public var tasks: [String] = []
    /// Nil measures no Fréchet distance.
    public var features: Features?
    public var variant = InceptionFeatures.Variant.pytorch
    /// A CLIP model as `ClipScoreEvaluation` reads it; nil measures no CLIP score.
    public var clip: String?
    /// How pictures are drawn.
    public var settings = ImageSettings()
    /// Picture i uses `seed + i`.
    public var seed: UInt64 = 0
    /// Tokens of a description at most.
    public var captionTokens = 64
    /// Rows that the model sees at once of a text; nil takes the longest sequence that it was trained on.
    public var context: Int?

    public init(model: LoadedModel.Request) {
        self.model = model
    }

    /// How pictures are described: the likeliest token each time, as in the paper.
    var text: TextSettings {
        var text = TextSettings()
        text.maximumTokens = captionTokens
        return text
    }

    /// All ranks of the group call it and see the same directory; only rank 0 gets the report.
    /// - Parameters:
    ///   - warn: Gets lines for the user, such as a damaged checkpoint that was passed over.
    ///   - say: Gets a line for each part: that it is begun, or kept.
    /// - Throws: `SharedFailure` with one line that names the file or option. What was finished before is kept.
    public func run(
        _ group: any Collectives = SingleRank(), ranksOnHost: Int = 1, warn: (String) -> Void = { _ in },
        say: (String) -> Void = { _ in }
    ) throws -> SuiteReport? {
        var opened: (source: SuiteSource, directory: SuiteDirectory)?
        try group.agree("opening what is measured") {
            if let problem = settings.problem ?? text.problem { throw problem }
            let source = try SuiteSource(self) { if group.rank == 0 { warn($0) } }
            opened = (source, SuiteDirectory(try source.directory(output)))
        }
        guard let (source, directory) = opened else { preconditionFailure("all ranks agreed on what is not there") }
        try group.agree("making the directory") { if group.rank == 0 { try directory.make(source) } }
        let (parts, leftOut) = source.plan(directory)
        var loaded: LoadedModel?
        func model() throws -> LoadedModel {
            if let loaded { return loaded }
            let model = try SharedEvaluation.load(source.request, group, ranksOnHost: ranksOnHost, warn: warn)
            loaded = model
            return model
        }
        let work = SuiteWork(
            suite: self, source: source, directory: directory, group: group, ranksOnHost: ranksOnHost)
        var results: [SuitePart: JSONValue] = [:]
        for (number, part) in parts.enumerated() {
            let title = "[\(number + 1)/\(parts.count)] \(part.name)"
            var digest = "", kept: JSONValue?
            try group.agree("looking for what is done") {
                guard group.rank == 0 else { return }
                digest = try source.digest(of: part, directory)
                kept = directory.kept(part, digest)
            }
            if try group.broadcast(kept == nil ? [] : [1], root: 0, site: "kept parts").isEmpty {
                if group.rank == 0 { say(title) }
                let report = try work.report(of: part, digest: digest, model: model)
                try group.agree("keeping a part") {
                    if let report, group.rank == 0 { kept = try directory.keep(report, of: part, digest) }
                }
            } else if group.rank == 0 {
                say(title + ": is done already")
            }
            results[part] = kept
        }
        var report: SuiteReport?
        try group.agree("writing the report") {
            guard group.rank == 0 else { return }
            let made = SuiteReport(self, source, results, leftOut)
            try directory.write(made, source)
            report = made
        }
        return report
    }
}
