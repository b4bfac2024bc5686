import Foundation
import Testing
import _TestUtilities

/// Real processes under mpirun, one job after another: each wants the machine's few processors for itself.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(5))) struct MPITests {
    /// Runs the probe, under mpirun if `ranks` is given.
    private func probe(
        _ arguments: [String], ranks: Int? = nil, environment: [String: String] = [:]
    ) throws -> Command.Result {
        let program = Command("CollectivesProbe")
        // The tests may themselves run inside a job.
        var changes: [String: String?] = [:]
        for name in ProcessInfo.processInfo.environment.keys
        where ["OMPI_", "PMIX_", "SLURM"].contains(where: name.hasPrefix) {
            changes.updateValue(nil, forKey: name)
        }
        changes.merge(environment) { $1 }
        guard let ranks else { return try program.run(arguments, environment: changes) }
        let launch = [
            "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
            "--mca", "btl_base_warn_component_unused", "0", "-n", "\(ranks)",
        ]
        return try Command.onPath("mpirun").run(launch + [program.path] + arguments, environment: changes)
    }

    /// Ranks, ranks that count as one host, and how they reach each other then.
    private static let layouts: [(Int, Int?, String)] = [
        (1, nil, "one process"),
        (2, nil, "shared memory between 2 ranks of one host"),
        (3, nil, "shared memory between 3 ranks of one host"),
        (4, nil, "shared memory between 4 ranks of one host"),
        (2, 1, "MPI between 2 ranks on 2 hosts"),
        (3, 1, "MPI between 3 ranks on 3 hosts"),
        (3, 2, "MPI between 3 ranks on 2 hosts"),
        (4, 2, "shared memory between 2 ranks of each host, MPI between 2 hosts"),
    ]

    @Test(arguments: layouts)
    func everyOperationGivesThePlainResult(_ ranks: Int, _ perHost: Int?, _ transport: String) throws {
        let outcome = try probe(["check"] + (perHost.map { ["\($0)"] } ?? []), ranks: ranks)
        #expect(outcome.status == 0, "\(outcome.errors)")
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.count == ranks)
        #expect(lines.allSatisfy { $0.hasSuffix("checks over \(transport)") }, "\(outcome.output)")
    }

    @Test func aPlainStartIsOneProcessWithoutMPI() throws {
        let outcome = try probe(["check"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.output.hasSuffix("checks over one process\n"))
    }

    @Test func silentSingletonsAreRefused() throws {
        let outcome = try probe(["check"], environment: ["SLURM_NTASKS": "4"])
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("srun announces 4 ranks, but this process sees itself alone"))
        #expect(outcome.output.isEmpty)
    }

    @Test func anUnexpectedNumberOfRanksIsRefused() throws {
        let outcome = try probe(["expect", "3"], ranks: 2)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("3 ranks were expected, but MPI sees 2: start with 'mpirun -n 3'"))
    }

    @Test func ranksThatDisagreeEndTheJobWithBothNames() throws {
        let outcome = try probe(["disagree"], ranks: 2)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("'the barrier of rank 0' (barrier, 0 bytes)"))
        #expect(outcome.errors.contains("'the sum of the others' (all-reduce, 8 bytes)"))
        #expect(!outcome.output.contains("nobody noticed"))
    }

    @Test func theBenchmarkComparesEveryOperationWithMPI() throws {
        let outcome = try probe(["benchmark", "1000000"], ranks: 2)
        #expect(outcome.status == 0, "\(outcome.errors)")
        let lines = outcome.output.split(separator: "\n")
        #expect(lines.count == 12)
        for name in ["reduce-scatter", "all-reduce", "all-gather"] {
            for memory in ["shared", "ordinary"] {
                #expect(lines.count { $0.hasPrefix("\(name) in \(memory) memory: ") } == 2)
            }
        }
    }

    @Test func theBenchmarkNeedsTwoRanks() throws {
        let outcome = try probe(["benchmark", "1000000"])
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("start with 'mpirun -n 2 tf-bench collectives'"))
    }
}
