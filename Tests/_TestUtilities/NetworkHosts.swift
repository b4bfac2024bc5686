internal import Foundation

/// Hosts made of network namespaces, joined by a bridge: each has an address and a host name of its own, and reaches the
/// others over TCP only. They share the disk. Removed when the value goes away.
public final class NetworkHosts {
    public let addresses: [String]
    private let prefix: String
    private let directory: TemporaryDirectory

    /// Why there can be none here; nil when there can.
    public static let obstacle: String? = {
        guard geteuid() == 0 else { return "network namespaces need root" }
        guard let ip = try? Command.onPath("ip"), (try? Command.onPath("unshare")) != nil else {
            return "network namespaces need the packages iproute2 and util-linux"
        }
        let name = "tf\(getpid() % 100_000)"
        guard let made = try? ip.run(["netns", "add", name]), made.status == 0 else {
            return "this machine allows no network namespaces"
        }
        _ = try? ip.run(["netns", "delete", name])
        return nil
    }()

    public init(_ count: Int) throws {
        prefix = "tf\(getpid() % 100_000)"
        addresses = (1...count).map { "10.77.0.\($0)" }
        directory = try TemporaryDirectory()
        // mpirun calls it with a host and a command line for that host's shell.
        try """
        #!/bin/bash
        host=\(prefix)-${1##*.}; shift
        exec ip netns exec $host unshare --uts bash -c "hostname $host; $*"
        """.write(toFile: agent, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: agent)
        try ip("link", "add", "\(prefix)br", "type", "bridge")
        try ip("link", "set", "\(prefix)br", "up")
        for (index, address) in addresses.enumerated() {
            let host = "\(prefix)-\(index + 1)", port = "\(prefix)v\(index + 1)"
            try ip("netns", "add", host)
            try ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            try ip("link", "set", port, "master", "\(prefix)br", "up")
            try ip("-n", host, "address", "add", "\(address)/24", "dev", "eth0")
            try ip("-n", host, "link", "set", "eth0", "up")
            try ip("-n", host, "link", "set", "lo", "up")
        }
    }

    deinit {
        for index in addresses.indices { try? ip("netns", "delete", "\(prefix)-\(index + 1)") }
        try? ip("link", "delete", "\(prefix)br")
    }

    private var agent: String { directory.file("agent") }

    /// Runs mpirun on the first host with one rank on each, over TCP alone.
    public func run(_ command: [String], environment: [String: String]) throws -> Command.Result {
        let hosts = addresses.joined(separator: ","), network = "10.77.0.0/24"
        let words =
            ["mpirun", "-n", "\(addresses.count)", "--host", hosts, "--bind-to", "none"]
            + ["--mca", "plm_rsh_agent", agent, "--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]
            + ["--mca", "btl_tcp_if_include", network, "--mca", "oob_tcp_if_include", network]
            + ["--mca", "mpi_yield_when_idle", "1"] + command
        return try Command(path: agent).run(
            [addresses[0], words.map { "'\($0)'" }.joined(separator: " ")], environment: environment)
    }

    private func ip(_ arguments: String...) throws {
        let result = try Command.onPath("ip").run(arguments)
        guard result.status == 0 else {
            throw CocoaError(.featureUnsupported, userInfo: [NSLocalizedDescriptionKey: result.errors])
        }
    }
}
