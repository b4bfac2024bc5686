internal import Foundation
internal import Subprocess
internal import SystemPackage
internal import TransfusionConfig
public import TransfusionCore
public import TransfusionModels

/// Runs `tf-bench rates` of the directory where this program is, for a plan without a file of rates.
public enum RatesMeasurement {
    private static let outputLimit = 1 << 20
    /// Much longer than it ever takes.
    private static let patience = Duration.seconds(600)

    /// - Parameter type: The type that matrices compute in; nil leaves it to the processor.
    /// - Throws: `CommandFailure` with the remedy.
    public static func run(type: ElementType?) async throws -> MachineRates {
        let program = InstalledProgram.beside("tf-bench")
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw CommandFailure(
                "\(program): is missing; install it beside tf-coord, or give a file of rates", .wrongUse)
        }
        let arguments = ["rates", "--json"] + (type.map { ["--precision", $0.rawValue] } ?? [])
        let output = try await withThrowingTaskGroup(of: String.self) { group in
            group.addTask {
                let result = try await Subprocess.run(
                    .path(FilePath(program)), arguments: Arguments(arguments), output: .string(limit: outputLimit),
                    error: .currentStandardError)
                guard result.terminationStatus.isSuccess else {
                    throw CommandFailure("\(program) rates: failed; see above, or give a file of rates")
                }
                return result.standardOutput
            }
            group.addTask {
                try await Task.sleep(for: patience)
                throw CommandFailure("\(program) rates: not done after \(patience.brief); give a file of rates")
            }
            defer { group.cancelAll() }
            return try await group.next() ?? ""
        }
        guard let rates = MachineRates(json: [UInt8](output.utf8)) else {
            throw CommandFailure("\(program) rates: printed no rates; install the one that belongs to tf-coord")
        }
        return rates
    }
}
