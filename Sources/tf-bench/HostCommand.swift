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

    func run() throws {
        let worker = InstalledProgram.beside("tf-worker")
        guard let contents = try? Data(contentsOf: URL(filePath: worker), options: .mappedIfSafe) else {
            throw CommandFailure("\(worker): is missing; install tf-worker beside tf-bench", .wrongUse)
        }
        let processor = CPUReport()
        let report = HostReport(
            program: String(contents.withUnsafeBytes { SHA256.hexDigest($0) }.prefix(12)),
            openMPI: MPIEnvironment.version, processors: processor.cpuCount,
            memoryNodes: HostReport.memoryNodesOfThisHost, kernels: processor.instructionSet,
            openBLAS: processor.openBLASCore, oneDNN: processor.oneDNNInstructionSet)
        if json {
            print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        } else {
            print(
                "transfusion: build \(report.program)\nmessages: \(report.openMPI)\nprocessor: \(processor.summary), memory nodes: \(report.memoryNodes)"
            )
        }
    }
}
