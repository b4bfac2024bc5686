import Foundation
import Testing
import Yams
import _TestUtilities

/// What deploy/ says in several places must be the same.
@Suite struct DeploymentTests {
    private static let deploy =
        "/" + URL(filePath: #filePath).pathComponents.dropLast(3).dropFirst().joined(separator: "/") + "/deploy"

    private func text(_ path: String) throws -> String {
        try String(contentsOfFile: "\(Self.deploy)/\(path)", encoding: .utf8)
    }

    /// The packages of a field of the package's description, but for those that are found when it is made.
    private func field(_ name: String) throws -> Set<String> {
        let line = try #require(text("package/control.in").split(separator: "\n").first { $0.hasPrefix("\(name): ") })
        let packages = line.dropFirst(name.count + 2).split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        return Set(packages).subtracting(["@LIBRARIES@"])
    }

    @Test func imagesHaveWhatThePackageRecommends() throws {
        let setup = try text("container/setup.sh")
        let list = try #require(setup.firstMatch(of: /apt-get install [^\n]*\\\n([^\n]*)\n/)?.1)
        let packages = Set(list.split(separator: " ").map(String.init))
        #expect(packages == (try field("Recommends")).union(["openssh-server"]))
        for file in ["container/Dockerfile", "container/transfusion.def"] {
            let definition = try text(file)
            for part in ["debian:bookworm-slim", "dist/transfusion_*.deb", "setup.sh", "sshd_config"] {
                #expect(definition.contains(part), "\(part) in \(file)")
            }
            #expect(!definition.contains("apt-get"), "\(file): packages are listed in setup.sh alone")
        }
    }

    @Test func whatProgramsCallIsInstalledForTheBuildToo() throws {
        let script = try text("install-dependencies.sh")
        let list = try #require(script.firstMatch(of: /\npackages=\(\n(?s)(.*?)\n\)/)?.1)
        let words = list.split(separator: "\n").map { $0.prefix { $0 != "#" } }.flatMap { $0.split(separator: " ") }
        let wanted = try field("Depends").union(try field("Recommends"))
        #expect(wanted.contains("openmpi-bin") && wanted.subtracting(words.map(String.init)).isEmpty, "\(wanted)")
    }

    @Test(arguments: ["kubernetes/mpijob.yaml", "kubernetes/data.yaml"])
    func podsHaveRoomAndVolumes(_ file: String) throws {
        let job = try #require(try load(yaml: try text(file)) as? [String: Any])
        let volume = try #require(try load(yaml: try text("kubernetes/volume.yaml")) as? [String: Any])
        let claim = (volume["metadata"] as? [String: Any])?["name"] as? String
        let pods = maps(in: job).filter { $0["containers"] != nil }
        #expect(!pods.isEmpty)
        for pod in pods {
            let volumes = try #require(pod["volumes"] as? [[String: Any]])
            let claims = volumes.compactMap { ($0["persistentVolumeClaim"] as? [String: Any])?["claimName"] as? String }
            #expect(claims == [claim])
            for container in try #require(pod["containers"] as? [[String: Any]]) {
                #expect(container["image"] as? String == "transfusion")
                let resources = try #require(container["resources"] as? [String: [String: String]])
                // Whole processors of their own.
                #expect(resources["requests"] == resources["limits"] && Int(resources["limits"]?["cpu"] ?? "") != nil)
                let mounts = try #require(container["volumeMounts"] as? [[String: String]])
                #expect(Set(mounts.map { $0["name"] }) == Set(volumes.map { $0["name"] as? String }))
            }
        }
    }

    /// The server in the image is the one that the job starts and waits for.
    @Test func theServerOfTheImageIsThatOfTheJob() throws {
        let job = try #require(try load(yaml: try text("kubernetes/mpijob.yaml")) as? [String: Any])
        let workers = maps(in: job).filter { $0["readinessProbe"] != nil }
        let worker = try #require(workers.first)
        let ports = try #require(worker["ports"] as? [[String: Any]])
        let probe = (worker["readinessProbe"] as? [String: Any])?["tcpSocket"] as? [String: String]
        let port = try #require(ports.first { $0["name"] as? String == probe?["port"] }?["containerPort"] as? Int)
        let settings = try text("container/sshd_config").split(separator: "\n").map { $0.split(separator: " ") }
        func setting(_ name: String) -> String? { settings.first { $0.first == name[...] }?.last.map(String.init) }
        #expect(setting("Port") == "\(port)")
        let keys = (job["spec"] as? [String: Any])?["sshAuthMountPath"] as? String
        #expect(
            setting("HostKey") == "\(keys ?? "")/id_rsa"
                && setting("AuthorizedKeysFile") == "\(keys ?? "")/authorized_keys")
        let command = try #require(worker["command"] as? [String])
        #expect(command == ["/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config"])
        let setup = try text("container/setup.sh")
        #expect(setup.contains("sshd_config \(command[3])") && setup.contains("    Port \(port)\n"))
        let user = (worker["securityContext"] as? [String: Any])?["runAsUser"] as? Int
        #expect(setup.contains("--uid \(user ?? -1) "))
    }

    /// All maps of a document, at any depth.
    private func maps(in value: Any) -> [[String: Any]] {
        if let map = value as? [String: Any] { return [map] + map.values.flatMap(maps) }
        return (value as? [Any])?.flatMap(maps) ?? []
    }
}
