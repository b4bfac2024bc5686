import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// `tf-eval` as a process.
struct EvalCommandTests {
    private let command = Command("tf-eval")
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func forward(_ changes: [String: String] = [:], _ flags: String...) throws -> Command.Result {
        var options = [
            "--checkpoint": Fixtures.path("model"), "--batch": Fixtures.path("model/batch.safetensors"),
            "--out": directory.file("out.safetensors"), "--threads": "1",
        ]
        options.merge(changes) { $1 }
        return try command.run(["forward"] + options.flatMap { [$0.key, $0.value] } + flags)
    }

    @Test func forwardWritesWhatItPrints() throws {
        let result = try forward([:], "--gradients", "--json")
        #expect(result.status == 0, "\(result.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let file = try SafetensorsFile(directory.file("out.safetensors"))
        let loss = try #require(report["loss"] as? Double)
        #expect(try file.floats("loss") == [Float(loss)])
        #expect(file["grad.lm_head.weight"] != nil)
        // A result may be written anew.
        #expect(try forward([:]).status == 0)
        #expect(try SafetensorsFile(directory.file("out.safetensors"))["grad.lm_head.weight"] == nil)
    }

    @Test func badInputIsOneLineAndAnExitCode() throws {
        let damaged = directory.file("damaged.safetensors")
        let batch = try Data(contentsOf: URL(filePath: Fixtures.path("model/batch.safetensors")))
        try batch.dropLast(16).write(to: URL(filePath: damaged))
        let outside = directory.file("outside.safetensors")
        try SafetensorsWriter().write(
            [
                SafetensorsTensor("tokens", .i32, [2], [1, 97] as [Int32]),
                SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            ], to: outside)
        for (changes, code, hint) in [
            (["--checkpoint": "/no/such/model"], 1, "/no/such/model"),
            (["--batch": "/no/such/batch"], 1, "/no/such/batch"), (["--batch": damaged], 1, "damaged.safetensors"),
            (["--batch": outside], 1, "tokens[1] is 97"),
            (["--out": "/no/such/directory/x"], 1, "/no/such/directory/x"),
            (["--out": directory.path], 1, "is a directory"), (["--out": directory.file("x/")], 1, "is a directory"),
            (["--threads": "0"], 2, "--threads"), (["--precision": "f8"], 2, "f8"), (["--shape": "1"], 2, "--shape"),
        ] as [([String: String], Int32, String)] {
            let result = try forward(changes)
            #expect(result.signal == nil && result.status == code, "\(changes): \(result.errors)")
            #expect(result.output.isEmpty && result.errors.contains(hint), "\(changes): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: directory.file("out.safetensors")))
    }
}
