import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionCoordinator
import TransfusionCore

struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Takes runs, queues them, and supervises them as slots become free.",
        discussion: """
            Runs until it is told to stop. Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP: all runs
            save, and tf-coord ends; with exit code 85 if it will go on with runs when it
            is started again. Once more, and everything ends at once, with 1 if a run had
            not saved. Under nohup it ignores SIGHUP. A daemon that was
            killed is started again in the same way: it finds its runs, takes over those
            that went on, and launches the others. Runs that need more slots than there
            are now are ended.

            EXAMPLES
              tf-coord serve --slots 8
              tf-coord serve --root /shared/runs --listen 127.0.0.1:7700
            """)

    @Option(help: ArgumentHelp("The directory below which all runs lie.", valueName: "directory"))
    var root = RunLocator.root

    @Option(
        help: "Ranks that run at once on this host; what the batch system allows, or as many as processors, by default."
    )
    var slots: Int?

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if let slots, slots < 1 { throw ValidationError("--slots: \(slots) is not a number of ranks; use 1 or more") }
    }

    func run() throws {
        let slots = slots
        let allocated = try waitFor { slots == nil ? try await HostList.ofAllocation() : nil }
        let local = ComputeHost.local(slots: slots ?? ThreadPool.availableCPUCount)
        let hosts = ComputeHost.unified(allocated ?? [local])
        guard hosts.allSatisfy(\.isLocal) else {
            throw CommandFailure(
                "\(hosts.map(\.name).joined(separator: ", ")): tf-coord serve places runs on its own host; those of several hosts are started with "
                    + "'tf-coord run', whose --hosts takes a file", .wrongUse)
        }
        let console = Console()
        let daemon = Daemon(root: root, hosts: hosts, settings: try server.settings)
        let end = try waitFor {
            try await daemon.run(
                log: console.say, onListening: { console.show($0, hint: "tf-coord dashboard") },
                stopRequests: { StopRequests.count })
        }
        // At once, as at the end of a run in the foreground.
        fflush(nil)
        if end.unsaved > 0 {
            let runs = end.unsaved == 1 ? "1 run was" : "\(end.unsaved) runs were"
            StandardStream.error.write("error: \(runs) ended without saving, and will go on from the last checkpoint\n")
            _exit(CommandFailure.Code.failure.rawValue)
        }
        _exit(end.unfinished > 0 ? CommandFailure.Code.checkpointedAndStopped.rawValue : 0)
    }
}
