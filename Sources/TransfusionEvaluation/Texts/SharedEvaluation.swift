import TransfusionConfig
import TransfusionCore
import TransfusionInference

/// Scores of many texts, worked out by all ranks of a job.
///
/// Texts pass through the model in groups, which depend on the texts alone. Each rank takes whole groups, so the numbers are the
/// same for any number of ranks; sums over them are taken in the order of the texts.
struct SharedEvaluation {
    /// Rows that pass through the model together, unless one item has more.
    private static let rowsAtOnce = 4096

    let model: TextScorer
    let group: any Collectives
    /// What the progress line says.
    let title: String

    /// The log-likelihood of each item; all ranks get all of them, and call this with the same items.
    func logLikelihoods(_ items: [TextScorer.Item]) throws -> [Double] {
        let values = try group.shared(
            Self.groups(items), title: title, work: "scoring texts", site: "scores of texts"
        ) { try model.logLikelihoods(Array(items[$0])) }
        guard values.allSatisfy(\.isFinite) else {
            throw SharedFailure(
                failure: CommandFailure("the model computes numbers that are not finite; its weights are damaged"))
        }
        return values
    }

    static func groups(_ items: [TextScorer.Item]) -> [Range<Int>] {
        var groups: [Range<Int>] = []
        var start = 0, rows = 0
        for (index, item) in items.enumerated() {
            if rows > 0, rows + item.rows > rowsAtOnce {
                groups.append(start..<index)
                (start, rows) = (index, 0)
            }
            rows += item.rows
        }
        if start < items.count { groups.append(start..<items.count) }
        return groups
    }

    /// The model on this rank's share of the processors, loaded by all ranks or by none.
    static func load(
        _ request: LoadedModel.Request, _ group: any Collectives, ranksOnHost: Int, warn: (String) -> Void
    ) throws -> LoadedModel {
        var request = request
        if request.threads == nil { request.threads = max(1, CPUReport().cpuCount / max(1, ranksOnHost)) }
        var loaded: LoadedModel?
        try group.agree("loading the model") {
            loaded = try LoadedModel(request) { if group.rank == 0 { warn($0) } }
        }
        guard let loaded else { throw CommandFailure("\(request.checkpoint): was not loaded") }
        return loaded
    }
}
