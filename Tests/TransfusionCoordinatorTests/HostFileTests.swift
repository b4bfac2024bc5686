import Testing
import TransfusionConfig

@testable import TransfusionCoordinator

@Suite struct HostFileTests {
    private func hosts(_ text: String) throws -> [ComputeHost] { try HostFile(text, path: "f").hosts }

    @Test func readsOpenMPIsFiles() throws {
        let hosts = try hosts("# all\nnode01 slots=2 # two sockets\n\nnode-02.example max_slots=9\nnode01\n")
        #expect(hosts == [ComputeHost(name: "node01", slots: 3), ComputeHost(name: "node-02.example", slots: 1)])
    }

    @Test(arguments: [
        ("a slots=2\r\nb slots=3\r\n", [2, 3]), ("\u{FEFF}a slots=2\r\nb:3\r\n", [2, 3]),
        ("\ta\tslots = 2 \n b slots= 3", [2, 3]),
        ("a:2\nb:3", [2, 3]), ("a cpu=2\nb slots=4 max-slots = 3", [2, 3]), ("a\nb\na\nb:2", [2, 3]),
        ("a:4 slots=2\rb:3", [2, 3]),
    ]) func formsThatPeopleWrite(_ text: String, _ slots: [Int]) throws {
        #expect(try hosts(text) == zip(["a", "b"], slots).map { ComputeHost(name: $0, slots: $1) })
    }

    @Test func readsSlurmsShortForm() throws {
        let names = try hosts("node[01-03,7]:2\nrack[9-10]-a slots=4").map { "\($0.name) \($0.slots)" }
        #expect(names == ["node01 2", "node02 2", "node03 2", "node7 2", "rack9-a 4", "rack10-a 4"])
    }

    @Test func usersAndAddressesAreNoNumbersOfSlots() throws {
        let hosts = try hosts("root@node01 slots=2\nanna@10.0.0.2:3\n[::1]:2\n[fe80::1%eth0] slots=4\nfd00::2")
        #expect(hosts.map(\.name) == ["root@node01", "anna@10.0.0.2", "::1", "fe80::1%eth0", "fd00::2"])
        #expect(hosts.map(\.slots) == [2, 3, 2, 4, 1])
        #expect(hosts.map(\.address) == ["node01", "10.0.0.2", "::1", "fe80::1%eth0", "fd00::2"])
        let unified = ComputeHost.unified(try self.hosts("localhost:2\nroot@127.0.0.1\n[::1]:3"))
        #expect(unified == [.local(slots: 6)])
    }

    @Test(arguments: [
        ("", "f: names no host"), ("\r\n# a\r\n\r\nb c", "f:4: \"c\" is not of the form slots=N"),
        ("a\r\nb slots=0", "f:2: \"slots=0\""), ("a slots=x", "f:1:"), ("a;b", "f:1: \"a;b\" is no name of a host"),
        ("-oProxyCommand=x", "f:1:"), ("a:x", "f:1:"), ("a:", "f:1:"), ("a@-b", "f:1:"), ("@a", "f:1:"),
        ("[a]:2", "f:1:"),
        ("n[3-1]", "f:1:"), ("n[1-9999999]", "f:1:"), ("a ifhn=b", "f:1:"),
    ]) func refusesWhatIsNoHostFile(_ text: String, _ message: String) {
        let failure = #expect(throws: CommandFailure.self) { try hosts(text) }
        #expect(failure?.description.hasPrefix(message) == true && failure?.code == .wrongUse, "\(text)")
    }

    @Test func namesThatOpenMPIDoesNotSurviveAreRefused() throws {
        func refusal(_ name: String, own: String = "head") -> CommandFailure? {
            do {
                try ComputeHost.requireUsableNames([ComputeHost(name: name, slots: 1)], own: own)
                return nil
            } catch {
                return error
            }
        }
        let long = String(repeating: "a", count: 56)
        #expect(refusal(long) == nil && refusal("root@" + long) == nil && refusal("node", own: long) == nil)
        for failure in [refusal(long + "b"), refusal("root@" + long + "b"), refusal("node", own: long + "b")] {
            #expect(failure?.code == .wrongUse && failure?.description.hasPrefix(long + "b: ") == true)
            #expect(failure?.description.contains("57 characters") == true)
        }
        #expect(refusal("fd00::2")?.description.contains("/etc/hosts") == true)
    }

    @Test func hostsOfOtherUsersAreGivenToMPIRunInAFile() throws {
        let files = RunFiles(RunDirectory("/r"))
        func command(_ hosts: [ComputeHost]) throws -> MPICommandLine {
            let record = LaunchRecord(id: "a.1", number: 1, pid: 0, hosts: hosts, data: 2, tensor: 1)
            return MPICommandLine(
                record, request: try .example("run"), files: files, hosts: HostHealth(hosts, shell: RemoteShell("ssh")),
                extra: [])
        }
        let plain = try command([ComputeHost(name: "a", slots: 1), ComputeHost(name: "b", slots: 1)])
        #expect(plain.hostFile == nil && plain.arguments.contains("a:1,b:1"))
        let other = try command([ComputeHost(name: "root@a", slots: 1), ComputeHost(name: "b", slots: 1)])
        #expect(other.hostFile == "root@a slots=1\nb slots=1\n" && other.arguments.contains("--hostfile"))
        #expect(!other.arguments.contains("--host"))
    }
}
