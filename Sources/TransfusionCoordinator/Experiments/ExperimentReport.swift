internal import Foundation
internal import TransfusionConfig
internal import TransfusionSupport

/// What an experiment has found so far, as tables, curves and pictures: `report.md` with files beside it, and `report.html`,
/// which needs no other file.
struct ExperimentReport {
    /// A table as text; the first column names the row.
    struct Table: Equatable {
        let title: String
        let columns: [String]
        let rows: [[String]]
        /// A sentence below it.
        var remark = ""
    }

    let experiment: Experiment
    private let overrides: [String]
    /// All trials, those without result too.
    let trials: [(trial: ExperimentPlan.Trial, result: TrialResult?)]
    private let store: ExperimentStore

    init(_ plan: ExperimentPlan, _ store: ExperimentStore) throws {
        experiment = plan.experiment
        overrides = plan.overrides
        trials = try plan.trials.map { ($0, try store.read($0)) }
        self.store = store
    }

    func write() throws {
        for (name, text) in [("report.md", markdown), ("losses.svg", curves), ("report.html", html)] {
            try AtomicFile.write(text.utf8, to: "\(store.directory)/\(name)")
        }
    }

    /// How far the experiment is.
    var progress: String {
        let finished = trials.count { $0.result.map { $0.missing(experiment.measures).isEmpty } ?? false }
        let trained = trials.count { $0.result != nil } - finished
        return "\(finished) of \(trials.count) runs are finished"
            + (trained > 0 ? ", \(trained) more \(trained == 1 ? "is" : "are") trained" : "")
            + "; transfusion \(ProductVersion.full)."
    }

    var tables: [Table] { [results, published, cost, differences].compactMap(\.self) }

    /// The trials that have drawn pictures.
    var pictures: [(trial: ExperimentPlan.Trial, path: String)] {
        trials.compactMap { trial, _ in
            let path = store.picture(trial)
            return FileManager.default.fileExists(atPath: path) ? (trial, path) : nil
        }
    }

    /// Every loss of every trial.
    var curves: String {
        LossCurves(
            cells: experiment.cells.map(\.name),
            curves: trials.flatMap { trial, result in
                (result?.curves ?? [:]).map { (loss: $0.key, cell: trial.cell, curve: $0.value) }
            }
        ).svg
    }
}

extension ExperimentReport {
    private var results: Table? {
        guard !experiment.measures.isEmpty else { return nil }
        let isPublished = experiment.measures.map { measure in
            experiment.cells.contains { $0.published[measure.name] != nil }
        }
        var columns = [""]
        for (measure, isPublished) in zip(experiment.measures, isPublished) {
            columns.append(measure.name)
            if isPublished { columns.append("\(measure.name) (paper)") }
        }
        let rows = experiment.cells.map { cell in
            var row = [cell.name]
            for (measure, isPublished) in zip(experiment.measures, isPublished) {
                row.append(own(measure, of: cell.name))
                if isPublished { row.append(Self.number(cell.published[measure.name])) }
            }
            return row
        }
        let seeds = experiment.seeds.count
        return Table(
            title: "Results", columns: columns, rows: rows,
            remark: seeds > 1
                ? "Mean ± standard deviation over \(seeds) seeds; in brackets how many, where some are missing." : "")
    }

    /// The values of all seeds as one text.
    private func own(_ measure: Experiment.Measure, of cell: String) -> String {
        let taken = trials.filter { $0.trial.cell == cell }.compactMap { $0.result?.value(of: measure) }
        let values = taken.compactMap(\.self)
        guard !values.isEmpty else { return taken.isEmpty ? "–" : "no number" }
        let mean = values.reduce(0, +) / Double(values.count)
        var text = Self.number(mean)
        if values.count > 1 {
            let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
            text += " ± " + String(format: "%.2g", (squares / Double(values.count - 1)).squareRoot())
        }
        return values.count == experiment.seeds.count ? text : text + " (\(values.count))"
    }

    /// Numbers of the paper that nothing here is compared with.
    private var published: Table? {
        let names = experiment.publishedOnly
        guard !names.isEmpty else { return nil }
        return Table(
            title: "The paper's numbers", columns: [""] + names,
            rows: experiment.cells.map { cell in [cell.name] + names.map { Self.number(cell.published[$0]) } },
            remark: "Of the paper's models and data, which are not those above: compare directions, not values.")
    }

    private var cost: Table {
        Table(
            title: "Cost",
            columns: ["", "parameters", "steps", "tokens", "images", "time of the steps", "FLOPs", "6ND"],
            rows: trials.map { trial, result in
                guard let cost = result?.cost else { return [trial.name] + Array(repeating: "–", count: 7) }
                return [
                    trial.name, cost.parameters.map(String.init) ?? "–", "\(cost.steps)", "\(cost.tokens)",
                    "\(cost.images)", Self.time(cost.seconds), Self.number(cost.operations),
                    Self.number(cost.paperOperations),
                ]
            },
            remark: "FLOPs are those of the model's own code, forward and backward, with attention and padding; "
                + "6ND is 6 · parameters · tokens, as the paper counts.")
    }

    private var differences: Table {
        let common = experiment.overrides + overrides
        return Table(
            title: "What differs", columns: ["", "settings"],
            rows: experiment.cells.map {
                [$0.name, $0.overrides.isEmpty ? "none" : $0.overrides.joined(separator: ", ")]
            },
            remark: "From \(experiment.base)"
                + (common.isEmpty ? "." : " with \(common.joined(separator: ", "))."))
    }

    private static func time(_ seconds: Double) -> String {
        seconds < 60 ? String(format: "%.3g s", seconds) : Duration.seconds(seconds).brief
    }

    /// Four digits, which is more than most measures are good for.
    static func number(_ value: Double?) -> String {
        value.map { String(format: "%.4g", $0) } ?? "–"
    }
}
