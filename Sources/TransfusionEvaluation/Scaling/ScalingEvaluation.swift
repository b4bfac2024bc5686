import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionSupport

/// Compares families of models at equal quality: all of `tf-eval scaling`.
public struct ScalingEvaluation: Sendable {
    /// Paths of files with one row a line, and runs in the form `FAMILY=RUN`.
    public var sources: [String]
    /// The family whose largest model is matched.
    public var match: String
    /// The family that is compared with it; nil takes the only other one.
    public var family: String?
    public var bounds = MetricBound.paper
    /// An SVG file for a picture of the lines.
    public var plot: String?

    public init(sources: [String], match: String) {
        self.sources = sources
        self.match = match
    }

    /// - Throws: One line that names the source, option or metric.
    public func run() throws -> ScalingReport {
        if let plot, Paths.fileExtension(of: plot) != "svg" {
            throw SettingError("plot", "\(plot) must end in .svg")
        }
        let rows = try sources.flatMap(rows)
        let report = try ScalingReport(rows, match: match, family: family, bounds: bounds)
        if let plot { try AtomicFile.write(ScalingPlot(report).svg.utf8, to: plot) }
        return report
    }

    private func rows(_ source: String) throws -> [ScalingRow] {
        if Files.exists(source) {
            guard Directories.exists(source) else { return try ScalingRow.read(file: source) }
            throw CommandFailure("\(source): say of which family the run is, as in FAMILY=\(source)", .wrongUse)
        }
        guard let equal = source.firstIndex(of: "="), equal > source.startIndex else {
            throw CommandFailure("\(source): there is no such file; give a file with rows, or FAMILY=RUN", .wrongUse)
        }
        let path = String(source[source.index(after: equal)...])
        guard RunDirectory(path).isRun else {
            throw CommandFailure("\(source): \(path) is no run; give a directory with run.yaml", .wrongUse)
        }
        return [try ScalingRow.read(run: path, family: String(source[..<equal]))]
    }
}
