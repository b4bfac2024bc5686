import TransfusionConfig
import _TestUtilities

@testable import TransfusionCoordinator

extension RunSupervisor {
    /// The supervisor of a run with the name "run" that is never launched.
    /// - Parameter more: Further keys of the configuration.
    static func example(in directory: TemporaryDirectory, adding more: String = "") throws -> RunSupervisor {
        let configuration = try RunConfiguration(
            yaml: """
                name: run
                model: {preset: tiny}
                data: {path: d}
                schedule: {steps: 5000}
                batch: {global_sequences: 8}
                \(more)
                """)
        return try RunSupervisor(
            RunRequest(configuration, directory: directory.file("run"), worker: "/bin/true")
        ) { _ in }
    }
}
