internal import Foundation

/// Hosts made of namespaces: each has an address, a host name and processes of its own, and reaches the others over
/// TCP only, by an ssh that needs no password. They share the disk. Removed when the value goes away.
public final class NetworkHosts {
    /// One per host.
    public let addresses: [String]
    private let prefix: String
    private let directory: TemporaryDirectory
    /// What keeps each host up.
    private var hosts: [RunningCommand?]

    private static let network = "10.77.0"

    /// Why there can be none here; nil when there can.
    public static let obstacle: String? = {
        guard geteuid() == 0 else { return "network namespaces need root" }
        guard let ip = try? Command.onPath("ip"), let unshare = try? Command.onPath("unshare"),
            (try? Command.onPath("ssh")) != nil, FileManager.default.isExecutableFile(atPath: sshd)
        else { return "hosts of namespaces need the packages iproute2, util-linux, openssh-client and openssh-server" }
        let name = "tf\(getpid() % 100_000)"
        guard let made = try? ip.run(["netns", "add", name]), made.status == 0 else {
            return "this machine allows no network namespaces"
        }
        _ = try? ip.run(["netns", "delete", name])
        guard let made = try? unshare.run(["--uts", "--pid", "--fork", "--mount-proc", "true"]), made.status == 0 else {
            return "this machine allows no process namespaces"
        }
        return nil
    }()

    private static let sshd = "/usr/sbin/sshd"

    public init(_ count: Int) throws {
        prefix = "tf\(getpid() % 100_000)"
        addresses = (1...count).map { "\(Self.network).\($0)" }
        directory = try TemporaryDirectory()
        hosts = Array(repeating: nil, count: count)
        let key = directory.file("key")
        _ = try Command.onPath("ssh-keygen").run("-q", "-t", "ed25519", "-N", "", "-f", key)
        try """
        Port 22
        HostKey \(key)
        AuthorizedKeysFile \(key).pub
        StrictModes no
        UsePAM no
        PermitRootLogin yes
        PidFile none
        """.write(toFile: directory.file("sshd_config"), atomically: true, encoding: .utf8)
        try """
        #!/bin/sh
        exec ssh -F none -i \(key) -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o BatchMode=yes -o ConnectTimeout=3 "$@"
        """.write(toFile: shell, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: shell)
        // Where sshd keeps an empty directory; its package makes it when the machine starts.
        try FileManager.default.createDirectory(atPath: "/run/sshd", withIntermediateDirectories: true)
        try ip("link", "add", "\(prefix)br", "type", "bridge")
        try ip("link", "set", "\(prefix)br", "up")
        for index in addresses.indices { try start(index) }
    }

    deinit {
        for index in addresses.indices { stop(index) }
        try? ip("link", "delete", "\(prefix)br")
    }

    /// The program that runs a command on another host, as ssh does.
    public var shell: String { directory.file("shell") }

    /// What Open MPI needs to know of the hosts.
    public var environment: [String: String] {
        [
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_pml": "ob1",
            "OMPI_MCA_btl": "tcp,self", "OMPI_MCA_btl_tcp_if_include": "\(Self.network).0/24",
            "OMPI_MCA_oob_tcp_if_include": "\(Self.network).0/24", "OMPI_MCA_mpi_yield_when_idle": "1",
            "OMPI_MCA_plm_rsh_agent": shell,
        ]
    }

    /// Starts a command on a host; its processes see those of that host only.
    public func start(_ command: [String], on index: Int, output: String? = nil) throws -> RunningCommand {
        guard let host = hosts[index], let process = Self.child(of: host.pid) else {
            throw CocoaError(.featureUnsupported)
        }
        return try Command.onPath("nsenter").start(
            ["--target", "\(process)", "--net", "--uts", "--pid", "--mount"] + command, environment: environment,
            output: output)
    }

    /// Runs a command with one rank on each host, over TCP alone.
    public func runRanks(_ command: [String]) throws -> Command.Result {
        let hosts = addresses.joined(separator: ",")
        return try start(
            ["mpirun", "-n", "\(addresses.count)", "--host", hosts, "--bind-to", "none"] + command, on: 0
        ).wait()
    }

    // MARK: What happens to hosts

    /// Ends all processes of a host at once, as a loss of power does; it does not answer any more.
    public func stop(_ index: Int) {
        let name = "\(prefix)-\(index + 1)"
        hosts[index]?.send(SIGKILL)
        _ = try? hosts[index]?.wait(seconds: 30)
        hosts[index] = nil
        try? ip("netns", "delete", name)
        // With the last process of the namespace goes the port; not at once.
        try? ip("link", "delete", "\(prefix)v\(index + 1)")
    }

    public func start(_ index: Int) throws {
        let name = "\(prefix)-\(index + 1)", port = "\(prefix)v\(index + 1)"
        try ip("netns", "add", name)
        try ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        try ip("link", "set", port, "master", "\(prefix)br", "up")
        try ip("-n", name, "address", "add", "\(addresses[index])/24", "dev", "eth0")
        try ip("-n", name, "link", "set", "eth0", "up")
        try ip("-n", name, "link", "set", "lo", "up")
        // The first process of the host takes in those that lose their parent. With it all others end.
        let script = "hostname \(name); \(Self.sshd) -D -e -f \(directory.file("sshd_config")) & wait"
        hosts[index] = try Command.onPath("ip").start([
            "netns", "exec", name, "unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c",
            script,
        ])
        let deadline = Date(timeIntervalSinceNow: 30)
        let probe = ["netns", "exec", name, shell, addresses[index], "true"]
        while try Command.onPath("ip").run(probe).status != 0 {
            guard Date() < deadline else { throw CocoaError(.featureUnsupported) }
            usleep(100_000)
        }
    }

    /// Takes the link of a host down, or up again; its processes go on.
    public func setLink(_ index: Int, up: Bool) throws {
        try ip("link", "set", "\(prefix)v\(index + 1)", up ? "up" : "down")
    }

    /// The command lines of all processes of a host.
    public func processes(_ index: Int) throws -> [String] {
        let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done"
        return try start(["sh", "-c", script], on: index).wait().output.split(separator: "\n").map(String.init)
    }

    private static func child(of pid: Int32) -> Int32? {
        let deadline = Date(timeIntervalSinceNow: 10)
        while Date() < deadline {
            let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
            if let child = text?.split(separator: " ").first.flatMap({ Int32($0) }) { return child }
            usleep(20_000)
        }
        return nil
    }

    private func ip(_ arguments: String...) throws {
        let result = try Command.onPath("ip").run(arguments)
        guard result.status == 0 else {
            throw CocoaError(.featureUnsupported, userInfo: [NSLocalizedDescriptionKey: result.errors])
        }
    }
}
