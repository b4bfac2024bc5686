internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionTelemetry

/// What mpirun is called with.
struct MPICommandLine: Sendable {
    let arguments: [String]
    let environment: [String: String]
    /// What `RunFiles.hosts` has to hold; nil where mpirun needs no such file.
    let hostFile: String?

    init(
        _ launch: LaunchRecord, request: RunRequest, files: RunFiles, hosts: HostHealth, extra: [String]
    ) {
        // Named also when there is none but this one: a batch system may have given others, which are gone.
        var arguments = ["-n", "\(launch.ranks)"]
        if launch.hosts.contains(where: \.hasUser) {
            // Only in a file mpirun understands users.
            hostFile = launch.hosts.map { "\($0.name) slots=\($0.slots)\n" }.joined()
            arguments += ["--hostfile", files.hosts]
        } else {
            hostFile = nil
            arguments += ["--host", launch.hosts.map { "\($0.name):\($0.slots)" }.joined(separator: ",")]
        }
        let isLocal = launch.remoteHosts.isEmpty
        if !isLocal {
            // What mpirun starts on other hosts gets the mark of the launch as well.
            let mark = "\(HeartbeatEndpoint.launchVariable)=\(launch.id)"
            arguments += ["--mca", "orte_launch_agent", "env \(mark) orted"]
            if let agent = hosts.shell.agent { arguments += ["--mca", "plm_rsh_agent", agent] }
        }
        let counts = Set(
            launch.hosts.map {
                hosts.reports[$0.name]?.memoryNodes ?? ($0.isLocal ? HostReport.memoryNodesOfThisHost : 1)
            })
        let nodes = counts.count == 1 ? counts.first ?? 1 : 1
        // A rank for each memory node is bound to it; else ranks share the processors as the kernel sees fit.
        if nodes > 1, launch.hosts.allSatisfy({ $0.slots % nodes == 0 }) {
            arguments += ["--map-by", "numa", "--bind-to", "numa"]
        } else {
            arguments += ["--oversubscribe", "--bind-to", "none"]
        }
        // When a rank fails the others cannot go on: mpirun ends them without waiting.
        arguments += ["--mca", "odls_base_sigkill_timeout", "0"]
        if launch.ranks > ThreadPool.availableCPUCount && isLocal {
            arguments += ["--mca", "mpi_yield_when_idle", "1"]
        }
        // Swift prints the stack of a crash with the names of its functions; Open MPI prints addresses.
        arguments += ["--mca", "opal_signal", ""]
        let own = [HeartbeatEndpoint.environmentVariable, HeartbeatEndpoint.launchVariable, "SWIFT_BACKTRACE"]
        for name in own + Self.choices.keys.sorted() { arguments += ["-x", name] }
        arguments += [request.worker, "--config", files.configuration, "--run-dir", files.directory.path]
        arguments += ["--resume", request.resume ?? "auto", "--expect-ranks", "\(launch.ranks)"] + extra
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

    /// What users choose in their environment, for ranks on all hosts alike.
    static var choices: [String: String] {
        let names: Set = ["OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA", "TRANSFUSION_KEY_FILE"]
        return ProcessInfo.processInfo.environment.filter { names.contains($0.key) }
    }
}
