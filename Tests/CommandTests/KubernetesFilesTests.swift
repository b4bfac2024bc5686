import Foundation
import Testing
import Yams
import _TestUtilities

/// deploy/kubernetes, held to the fields that Kubernetes and its MPI operator know.
@Suite struct KubernetesFilesTests {
    private struct Field: Decodable {
        let type: String
        let required: Bool
    }

    /// The fields of each type.
    private let types: [String: [String: Field]]

    init() throws {
        let data = try Data(contentsOf: URL(filePath: Fixtures.path("kubernetes_fields.json")))
        types = try JSONDecoder().decode([String: [String: Field]].self, from: data)
    }

    /// What is wrong with a value of a type, each with its place in the document.
    private func problems(_ value: Any, _ type: String, _ place: String) -> [String] {
        if let inner = type.wholeMatch(of: /List\[(.*)\]/)?.1 {
            guard let list = value as? [Any] else { return ["\(place): is no list"] }
            return list.enumerated().flatMap { problems($1, String(inner), "\(place)[\($0)]") }
        }
        if let inner = type.wholeMatch(of: /Dict\[str, (.*)\]/)?.1 {
            guard let map = value as? [String: Any] else { return ["\(place): is no map"] }
            return map.flatMap { problems($1, String(inner), "\(place).\($0)") }
        }
        if let fields = types[type] {
            guard let map = value as? [String: Any] else { return ["\(place): is no \(type)"] }
            let missing = fields.filter { $1.required && map[$0] == nil }.map { "\(place).\($0.key): is missing" }
            return missing
                + map.flatMap { key, value in
                    fields[key].map { problems(value, $0.type, "\(place).\(key)") } ?? ["\(place).\(key): is unknown"]
                }
        }
        let isRight =
            switch type {
            case "str", "datetime": value is String
            case "int": value is Int
            case "bool": value is Bool
            case "object": true
            default:
                type.hasPrefix("one of ")
                    && type.split(separator: " ").dropFirst(2).contains { $0 == value as? String ?? "" }
            }
        return isRight ? [] : ["\(place): '\(value)' is no \(type)"]
    }

    private func text(_ file: String) throws -> String {
        let root = "/" + URL(filePath: #filePath).pathComponents.dropLast(3).dropFirst().joined(separator: "/")
        return try String(contentsOfFile: "\(root)/deploy/kubernetes/\(file)", encoding: .utf8)
    }

    private static let files = [
        ("mpijob.yaml", "MPIJob", "kubeflow.org/v2beta1", "MPIJob"), ("data.yaml", "V1Job", "batch/v1", "Job"),
        ("volume.yaml", "V1PersistentVolumeClaim", "v1", "PersistentVolumeClaim"),
    ]

    @Test(arguments: files)
    func fieldsAreThoseOfTheAPI(_ file: String, _ type: String, _ version: String, _ kind: String) throws {
        let document = try #require(try load(yaml: try text(file)) as? [String: Any])
        #expect(problems(document, type, "") == [])
        #expect(document["apiVersion"] as? String == version && document["kind"] as? String == kind)
    }

    @Test(arguments: [
        ("slotsPerWorker: 2", "slotsPerWorker: two", ".spec.slotsPerWorker: 'two' is no int"),
        ("launcherCreationPolicy", "launcherPolicy", ".spec.launcherPolicy: is unknown"),
        ("OnFailure", "Always", ".spec.mpiReplicaSpecs.Launcher.restartPolicy: 'Always' is no one of"),
        ("- name: launcher", "- title: launcher", "containers[0].name: is missing"),
        ("containerPort: 2222", "port: 2222", "ports[0].containerPort: is missing"),
        ("securityContext: {runAsUser: 1000}", "securityContext: {user: 1000}", "securityContext.user: is unknown"),
        ("command: [/usr/sbin/sshd", "command: /usr/sbin/sshd #", "command: is no list"),
        ("cpu: \"1\"", "cpu: {}", "resources.requests.cpu: '[:]' is no str"),
    ])
    func whatTheAPIDoesNotKnowIsFound(_ part: String, _ other: String, _ problem: String) throws {
        let changed = try text("mpijob.yaml")
        let range = try #require(changed.firstRange(of: part))
        let found = problems(
            try #require(try load(yaml: changed.replacingCharacters(in: range, with: other))), "MPIJob", "")
        #expect(found.contains { $0.contains(problem) }, "\(found)")
    }
}
