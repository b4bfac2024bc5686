import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionParallel

struct CollectivesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collectives",
        abstract: "Times this program's collectives against MPI's own, in one run.",
        discussion: """
            EXAMPLE
              mpirun -n 2 --bind-to none tf-bench collectives --bytes 268435456
            """)

    @Option(help: "Bytes of each rank's vector.")
    var bytes = 256 << 20

    @Option(help: "How often each is timed; the median counts.")
    var repetitions = 7

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let job: MPIEnvironment
        let report: CollectivesBenchmark.Report
        do {
            job = try MPIEnvironment.start()
            report = try CollectivesBenchmark.run(on: job, bytes: bytes, repetitions: repetitions)
        } catch let error as LaunchError {
            throw CommandFailure("\(error)", .wrongUse)
        }
        if job.world.rank == 0 { json ? try printJSON(report) : printTable(report) }
        job.finish()
    }

    private func printTable(_ report: CollectivesBenchmark.Report) {
        print("\(report.ranks) ranks, \(report.transport), \(report.bytes) bytes, median of \(report.repetitions)")
        for row in report.rows {
            print(
                [
                    row.operation.padding(toLength: 15, withPad: " ", startingAt: 0),
                    row.memory.padding(toLength: 16, withPad: " ", startingAt: 0),
                    String(format: "%8.1f ms   ", row.milliseconds),
                    row.reference.padding(toLength: 27, withPad: " ", startingAt: 0),
                    String(format: "%8.1f ms   %.1f times as fast", row.referenceMilliseconds, row.speedup),
                ].joined())
        }
    }
}
