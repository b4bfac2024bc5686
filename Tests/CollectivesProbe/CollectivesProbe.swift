import Glibc
import TransfusionCore
import TransfusionParallel

/// Runs under mpirun for the tests of this package: one job a word.
@main
struct CollectivesProbe {
    static func main() {
        let words = CommandLine.arguments.dropFirst()
        let job = words.first ?? ""
        let number = words.dropFirst().first.flatMap { Int($0) }
        do {
            let perHost = job == "check" ? number : nil
            let mpi = try MPIEnvironment.start(
                expectedRanks: job == "expect" ? number : nil, ranksPerHost: perHost)
            do {
                print(try run(job, number, mpi))
                mpi.finish()
            } catch {
                report(error)
                mpi.abort(exitCode: 1)
            }
        } catch {
            report(error)
            exit(2)
        }
    }

    private static func run(_ job: String, _ number: Int?, _ mpi: MPIEnvironment) throws -> String {
        let world = mpi.world
        switch job {
        case "check":
            return "rank \(world.rank) passed \(try CollectiveChecks.run(world)) checks over \(mpi.transport)"
        case "expect":
            return "rank \(world.rank) of \(world.size)"
        case "benchmark":
            let report = try CollectivesBenchmark.run(on: mpi, bytes: number ?? 1 << 20, repetitions: 9)
            return report.rows.map {
                "\($0.operation) in \($0.memory): \($0.milliseconds) ms, \($0.reference) \($0.referenceMilliseconds) ms, "
                    + "\($0.speedup) times as fast"
            }.joined(separator: "\n")
        case "disagree":
            // Rank 0 makes another call than the others; somebody must notice.
            if world.rank == 0 {
                try world.barrier(site: "the barrier of rank 0")
            } else {
                _ = try world.sum([1], site: "the sum of the others")
            }
            return "nobody noticed"
        default:
            throw CollectiveChecks.Failure(description: "no such job: '\(job)'")
        }
    }

    private static func report(_ error: any Error) {
        let line = Array("probe: \(error)\n".utf8)
        write(STDERR_FILENO, line, line.count)
    }
}
