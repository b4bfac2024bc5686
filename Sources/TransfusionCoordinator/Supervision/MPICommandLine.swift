internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// What mpirun is called with.
struct MPICommandLine: Sendable {
    let arguments: [String]
    let environment: [String: String]

    init(
        _ launch: LaunchRecord, request: RunRequest, files: RunFiles, extra: [String]
    ) {
        var arguments = ["-n", "\(launch.ranks)"]
        let isLocal = launch.hosts.allSatisfy { $0.name == ComputeHost.localName }
        if !isLocal {
            arguments += ["--host", launch.hosts.map { "\($0.name):\($0.slots)" }.joined(separator: ",")]
        }
        let nodes = Self.memoryNodes
        // A rank for each memory node is bound to it; else ranks share the processors as the kernel sees fit.
        if nodes > 1, launch.hosts.allSatisfy({ $0.slots % nodes == 0 }) {
            arguments += ["--map-by", "numa", "--bind-to", "numa"]
        } else {
            arguments += ["--oversubscribe", "--bind-to", "none"]
        }
        // When a rank fails the others cannot go on: mpirun ends them without waiting.
        arguments += ["--mca", "odls_base_sigkill_timeout", "0"]
        if launch.ranks > ProcessInfo.processInfo.activeProcessorCount && isLocal {
            arguments += ["--mca", "mpi_yield_when_idle", "1"]
        }
        // Swift prints the stack of a crash with the names of its functions; Open MPI prints addresses.
        arguments += ["--mca", "opal_signal", ""]
        for name in [HeartbeatEndpoint.environmentVariable, HeartbeatEndpoint.launchVariable, "SWIFT_BACKTRACE"] {
            arguments += ["-x", name]
        }
        arguments += [request.worker, "--config", files.configuration, "--run-dir", files.directory.path]
        arguments += ["--resume", "auto", "--expect-ranks", "\(launch.ranks)"] + extra
        self.arguments = arguments
        var environment = [
            HeartbeatEndpoint.environmentVariable: files.endpoint, HeartbeatEndpoint.launchVariable: launch.id,
            "SWIFT_BACKTRACE": ProcessInfo.processInfo.environment["SWIFT_BACKTRACE"]
                ?? "enable=yes,color=no,threads=crashed,registers=none,images=none",
        ]
        if geteuid() == 0 {
            environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
            environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        }
        self.environment = environment
    }

    /// Memory nodes (sockets, mostly) of this host.
    private static var memoryNodes: Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/devices/system/node")) ?? []
        return max(1, names.count { $0.wholeMatch(of: /node\d+/) != nil })
    }
}
