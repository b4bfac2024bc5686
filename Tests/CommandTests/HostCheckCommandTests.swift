import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

/// `tf-coord hosts --check` on hosts that are reached over ssh.
@Suite(
    .serialized, .oneSuiteAtATime, .timeLimit(.minutes(10)),
    .enabled(if: NetworkHosts.obstacle == nil, "\(NetworkHosts.obstacle ?? "")"))
struct HostCheckCommandTests {
    private let temporary: TemporaryDirectory
    private let hosts: NetworkHosts
    private let shared: String

    init() throws {
        temporary = try TemporaryDirectory()
        hosts = try NetworkHosts(3)
        shared = temporary.file("shared")
        try FileManager.default.createDirectory(atPath: shared, withIntermediateDirectories: true)
        try hosts.addresses.map { "\($0) slots=1\n" }.joined()
            .write(toFile: temporary.file("hosts"), atomically: true, encoding: .utf8)
    }

    private func check(_ more: String...) throws -> Command.Result {
        let words = ["hosts", "--check", temporary.file("hosts"), "--shared", shared] + more
        return try hosts.start([Command("tf-coord").path] + words, on: 0).wait()
    }

    private func mount(_ words: String..., on host: Int) throws {
        let result = try hosts.start(["mount"] + words, on: host).wait()
        try #require(result.status == 0, "\(result)")
    }

    @Test func whatIsWrongIsNamedWithItsHost() throws {
        let well = try check()
        #expect(well.status == 0 && well.output.contains("The hosts can train together."), "\(well)")
        // The host itself is there under one name, too.
        for host in ["localhost", hosts.addresses[1], hosts.addresses[2]] {
            let line = well.output.split(separator: "\n").first { $0.hasPrefix(host + " ") }
            #expect(
                line?.contains(" \(ProductVersion.full) (") == true && line?.contains("ok") == true, "\(well.output)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: shared).isEmpty, "something is left")

        // One has another directory at the same path, and another build.
        try mount("-t", "tmpfs", "tmpfs", shared, on: 1)
        let worker = Command("tf-worker").path, other = temporary.file("tf-worker")
        try "#!/bin/sh\n".write(toFile: other, atomically: true, encoding: .utf8)
        try mount("--bind", other, worker, on: 1)
        // The other loses its power.
        hosts.stop(2)
        let ill = try check("--json")
        let report = try JSONSerialization.jsonObject(with: Data(ill.output.utf8)) as? [String: Any]
        let problems = try #require(report?["problems"] as? [String])
        let names = (report?["answers"] as? [[String: Any]])?.map { $0["host"] as? String }
        #expect(ill.status == 1, "\(ill)")
        let (first, second) = (hosts.addresses[1], hosts.addresses[2])
        #expect(
            problems.contains(
                "\(first): \(shared): is not seen there; mount the shared file system at the same path"))
        #expect(problems.contains { $0.hasPrefix("\(second): cannot be reached") }, "\(problems)")
        #expect(
            problems.contains { $0.hasPrefix("transfusion: ") && $0.contains("on \(first)") },
            "\(problems)")
        #expect(problems.count == 3 && names == ["localhost", first, second])
    }

    @Test func wrongUseIsRefused() throws {
        let command = Command("tf-coord")
        for (words, part) in [
            (["hosts", "--shared", "x"], "--check FILE"), (["hosts", "a", "--check", "b"], "leave out RUN"),
            (["hosts", "--check", temporary.file("none")], "cannot be read"),
            (["hosts", "--check", temporary.file("hosts"), "--shared", "/proc/self"], "--shared: /proc/self/"),
        ] {
            let result = try command.run(words)
            #expect(result.status == 2 && result.errors.contains(part), "\(result)")
        }
    }
}
