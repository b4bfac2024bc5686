import Testing
import TransfusionTelemetry

@testable import TransfusionCoordinator

@Suite struct HostComparisonTests {
    private let report: HostReport = {
        var report = HostReport(
            program: "a1", openMPI: "Open MPI v4.1.4", processors: 2, memoryNodes: 1, kernels: "x86-64-v4",
            openBLAS: "SkylakeX", oneDNN: "avx512_core")
        report.version = "0.3.0+a"
        return report
    }()

    @Test func equalHostsDifferInNothing() {
        let comparison = HostComparison(["node1": report, "node2": report])
        #expect(comparison.conflicts.isEmpty && comparison.differences.isEmpty)
    }

    @Test func whatCannotWorkTogetherIsAConflict() {
        var other = report
        other.program = "b2"
        // Before there were versions.
        other.version = nil
        other.openMPI = "Open MPI v4.1.6"
        let comparison = HostComparison(["node1": report, "node2": other, "node3": report])
        #expect(
            comparison.conflicts == [
                "transfusion: 0.3.0+a (a1) on node1, node3; b2 on node2",
                "Open MPI: Open MPI v4.1.4 on node1, node3; Open MPI v4.1.6 on node2",
            ])
        #expect(comparison.differences.isEmpty)
    }

    @Test func ofEqualNumbersThatOfTheFirstHostComesFirst() {
        var other = report
        other.openMPI = "Open MPI v3.1.3"
        let comparison = HostComparison(["node1": report, "node2": other])
        #expect(comparison.conflicts == ["Open MPI: Open MPI v4.1.4 on node1; Open MPI v3.1.3 on node2"])
        #expect(HostComparison.mostCommon(["node1": report, "node2": other]) == report)
    }

    @Test func otherKernelsAreNamed() {
        var other = report
        other.openBLAS = "Prescott"
        let comparison = HostComparison(["node1": report, "node2": other])
        #expect(comparison.conflicts.isEmpty)
        #expect(comparison.differences.count == 1)
        #expect(comparison.differences.first?.contains("Prescott on node2") == true)
    }
}
