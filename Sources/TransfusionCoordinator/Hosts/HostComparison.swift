internal import TransfusionTelemetry

/// What differs between the hosts of a run, in words.
struct HostComparison: Equatable {
    /// Differences with which ranks cannot work together.
    private(set) var conflicts: [String] = []
    /// Differences that make the ranks of some hosts slower, or the last bits of their results others.
    private(set) var differences: [String] = []

    /// What most hosts have of what must be the same; of several, that of the first host by name.
    static func mostCommon(_ reports: [String: HostReport]) -> HostReport? {
        func count(_ name: String) -> Int {
            reports.values.count { HostComparison(["": $0, name: reports[name] ?? $0]).conflicts.isEmpty }
        }
        return reports.keys.max { (count($0), $1) < (count($1), $0) }.flatMap { reports[$0] }
    }

    /// - Parameter reports: What each host computes with.
    init(_ reports: [String: HostReport]) {
        func compare(_ what: String, _ value: (HostReport) -> String) -> [String] {
            let groups = Dictionary(grouping: reports.keys.sorted()) { reports[$0].map(value) ?? "" }
            guard groups.count > 1 else { return [] }
            // As in `mostCommon`.
            let parts = groups.sorted { ($1.value.count, $0.value[0]) < ($0.value.count, $1.value[0]) }
            return [
                "\(what): " + parts.map { "\($0.key) on \($0.value.joined(separator: ", "))" }.joined(separator: "; ")
            ]
        }
        conflicts += compare("transfusion") { HostReport.name(ofVersion: $0.version, program: $0.program) }
        conflicts += compare("Open MPI", \.openMPI)
        differences += compare("processors") { "\($0.processors)" }
        differences += compare("kernels", \.kernels)
        differences += compare("OpenBLAS kernels", \.openBLAS)
        differences += compare("oneDNN kernels", \.oneDNN)
    }
}
