import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCore
import TransfusionParallel
import TransfusionTelemetry

struct HostCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "host", abstract: "Says what this host computes with: tf-coord compares it between hosts.",
        discussion: """
            EXAMPLES
              tf-bench host
              ssh node2 tf-bench host --json
            """)

    @Flag(help: "Print one JSON object.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Answer in a directory that 'tf-coord hosts --check' made, and measure.", visibility: .hidden))
    var probe: String?

    @Option(help: ArgumentHelp("What the host is called there.", visibility: .hidden))
    var name = ""

    func run() throws {
        CPUReport.reexecuteIfSlowKernels()
        let worker = InstalledProgram.beside("tf-worker")
        guard let program = try? HostReport.digest(ofProgram: worker) else {
            throw CommandFailure("\(worker): is missing; install tf-worker beside tf-bench", .wrongUse)
        }
        let processor = CPUReport()
        let report = HostReport(
            program: program, openMPI: MPIEnvironment.version, processors: processor.cpuCount,
            memoryNodes: HostReport.memoryNodesOfThisHost, kernels: processor.instructionSet,
            openBLAS: processor.openBLASCore, oneDNN: processor.oneDNNInstructionSet)
        if let probe {
            let measured = HostProbe.measure(report, directory: probe, as: name)
            print(String(decoding: try JSONEncoder().encode(measured), as: UTF8.self))
        } else if json {
            print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        } else {
            print(
                "transfusion: \(HostReport.name(ofVersion: report.version, program: report.program))\nmessages: \(report.openMPI)\nprocessor: \(processor.summary), memory nodes: \(report.memoryNodes)"
            )
        }
    }
}
