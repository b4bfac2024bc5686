import Foundation
import Testing

/// Data flows one way through the modules: each may import those above it in the list, and some must not know of certain
/// things at all.
@Suite struct ModuleOrderTests {
    private static let order = [
        "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig", "TransfusionTelemetry",
        "TransfusionParallel",
        "TransfusionData", "TransfusionCheckpoint", "TransfusionInference", "TransfusionTraining",
        "TransfusionEvaluation", "TransfusionHTTP", "TransfusionCoordinator", "TransfusionBenchmarks",
    ]

    /// What only some modules may know of.
    private static let reserved: [(imports: Set<String>, modules: Set<String>)] = [
        (["CMPI"], ["TransfusionParallel"]),
        (["CKernels"], ["TransfusionCore", "TransfusionParallel", "TransfusionData"]),
        (["CPNG", "CJPEG", "CWebP", "CSnappy"], ["TransfusionData"]),
        (["COpenBLAS", "COneDNN"], ["TransfusionCore"]),
        (["CZstd"], ["TransfusionCheckpoint", "TransfusionData"]),
        (["CZlib"], ["TransfusionData", "TransfusionEvaluation"]),
        (["CSQLite", "Subprocess", "Hummingbird", "AsyncHTTPClient"], ["TransfusionCoordinator"]),
        (["HummingbirdCore", "HummingbirdTLS"], ["TransfusionCoordinator", "TransfusionHTTP"]),
        (["Yams"], ["TransfusionConfig"]),
    ]

    /// Neither processes nor files belong to them.
    private static let withoutFoundation: Set = ["TransfusionCore", "TransfusionModels", "TransfusionParallel"]

    static func problem(module: String, imports name: String) -> String? {
        if let place = order.firstIndex(of: name) {
            if let own = order.firstIndex(of: module), place >= own {
                return "\(module) imports \(name), which is below it"
            }
            if module.hasPrefix("C") { return "\(module) imports \(name): C code knows nothing of the project" }
        }
        if name.hasPrefix("tf_") { return "\(module) imports the command \(name)" }
        for (imports, modules) in reserved where imports.contains(name) && !modules.contains(module) {
            return "\(module) imports \(name), which is for \(modules.sorted().joined(separator: ", "))"
        }
        if name == "Foundation", withoutFoundation.contains(module) { return "\(module) imports Foundation" }
        return nil
    }

    @Test func everyImportGoesUp() throws {
        let sources =
            URL(filePath: #filePath).pathComponents.dropLast(3).joined(separator: "/").dropFirst() + "/Sources"
        var modules: Set<String> = []
        var problems: [String] = []
        for path in try FileManager.default.subpathsOfDirectory(atPath: String(sources)) where path.hasSuffix(".swift")
        {
            let module = String(path.prefix { $0 != "/" })
            modules.insert(module)
            let text = try String(contentsOfFile: "\(sources)/\(path)", encoding: .utf8)
            for match in text.matches(of: /(?m)^(?:@\w+ )?(?:internal |public |package )?import (?:\w+ )?(\w+)/) {
                if let problem = Self.problem(module: module, imports: String(match.1)) {
                    problems.append("\(path): \(problem)")
                }
            }
        }
        #expect(problems.isEmpty, "\(problems.joined(separator: "\n"))")
        #expect(modules.isSuperset(of: Self.order), "the list of modules is not that of Sources")
        let unlisted = modules.filter { $0.hasPrefix("Transfusion") }.subtracting(Self.order)
        #expect(unlisted.isEmpty, "modules that the list does not order: \(unlisted.sorted())")
    }

    @Test(
        arguments: [
            ("TransfusionCore", "TransfusionConfig"), ("TransfusionParallel", "TransfusionCheckpoint"),
            ("TransfusionInference", "TransfusionTraining"), ("TransfusionTraining", "CMPI"),
            ("TransfusionTraining", "Hummingbird"), ("TransfusionHTTP", "TransfusionCoordinator"),
            ("tf-sample", "CMPI"), ("TransfusionCore", "Foundation"),
        ])
    func anImportThatIsTurnedAroundIsFound(_ module: String, _ name: String) {
        #expect(Self.problem(module: module, imports: name) != nil)
    }
}
