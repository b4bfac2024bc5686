import ArgumentParser
import TransfusionConfig
import TransfusionEvaluation

struct ScalingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scaling",
        abstract: "Compares families of models by the FLOPs that they need for the same quality.",
        discussion: """
            tf-eval scaling results.jsonl --match chameleon --plot scaling.svg
            tf-eval scaling a=runs/a1 a=runs/a2 a=runs/a3 b=runs/b --match b

            A line of the file is one model:
              {"family": "transfusion", "parameters": 7e9, "tokens": 5e11, "c4": 7.72}
            The logarithm of each metric is fitted on that of the FLOPs (6 * parameters *
            tokens). The ratio is the FLOPs at which the line reaches the value of the
            largest model of the --match family, divided by that model's FLOPs.
            """)

    @Argument(help: "Files with one model a line, and runs as FAMILY=RUN: their losses at their last record.")
    var sources: [String]

    @Option(help: "The family whose largest model is matched.")
    var match: String

    @Option(help: "The family that is compared with it; needed when there are several.")
    var family: String?

    @Option(
        name: .customLong("drop"),
        help: "Leave out points beyond a limit; in place of the paper's fid>100, clip<17 and cider<4.")
    var bounds: [String] = []

    @Flag(help: "Leave no point out.")
    var keepAll = false

    @Option(help: "Draw points and lines into this .svg file.")
    var plot: String?

    @Flag(help: "Print JSON, with the ratios by metric in \"ratios\".")
    var json = false

    func validate() throws {
        for bound in bounds where MetricBound(bound) == nil {
            throw ValidationError("--drop: '\(bound)' is no limit; write one as in 'fid>100'")
        }
        if keepAll, !bounds.isEmpty { throw ValidationError("--keep-all and --drop exclude each other") }
    }

    func run() throws {
        var evaluation = ScalingEvaluation(sources: sources, match: match)
        evaluation.family = family
        evaluation.plot = plot
        if keepAll || !bounds.isEmpty { evaluation.bounds = bounds.compactMap(MetricBound.init) }
        let report = try evaluation.run()
        if json { return try printJSON(report) }
        printTable(of: report)
        for point in report.dropped {
            let value = point.value.map { " \(ScalingReport.short($0))" } ?? ""
            print("left out: \(point.source) (\(point.family)): \(point.metric)\(value): \(point.reason)")
        }
        for (metric, reason) in report.unmatched.sorted(by: { $0.key < $1.key }) {
            print("no ratio: \(metric): \(reason)")
        }
    }

    private func printTable(of report: ScalingReport) {
        let short = ScalingReport.short
        print(
            "\(report.family) to match \(report.match.family) at \(short(report.match.flops)) FLOPs "
                + "(\(report.match.source))")
        let rows = report.comparisons.sorted { $0.key < $1.key }.compactMap { metric, found -> [String]? in
            guard let fit = report.fits[report.family]?[metric] else { return nil }
            let others = found.leaveOneOut.compactMap(\.ratio)
            let range = others.min().flatMap { low in others.max().map { "\(short(low)) … \(short($0))" } }
            return [
                metric, short(found.target), "\(fit.points)", short(fit.slope), short(fit.r2), short(found.ratio),
                found.interval.map { "\(short($0[0])) … \(short($0[1]))" } ?? "–", range ?? "–",
            ]
        }
        let head = ["metric", "target", "points", "slope", "R²", "FLOP ratio", "95 % interval", "one left out"]
        tf_eval.printTable([head] + rows)
    }
}
