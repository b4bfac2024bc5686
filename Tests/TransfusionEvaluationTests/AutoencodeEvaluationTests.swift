import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionEvaluation
import TransfusionModels
import _TestUtilities

@Suite struct AutoencodeEvaluationTests {
    private func problem(_ checkpoint: String, _ batch: String, _ directory: TemporaryDirectory) -> String? {
        let evaluation = AutoencodeEvaluation(
            checkpoint: checkpoint, batch: batch, output: directory.file("out.safetensors"))
        return #expect(throws: CheckpointError.self) { try evaluation.run() }?.problem
    }

    @Test(arguments: ["kl", "vq"]) func agreesWithDiffusers(_ kind: String) throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/\(kind)")
        let output = directory.file("out.safetensors")
        var evaluation = AutoencodeEvaluation(
            checkpoint: folder, batch: folder + "/batch.safetensors", output: output)
        evaluation.computesGradients = true
        evaluation.threads = 2
        let report = try evaluation.run()
        let ours = Fixture.whole(path: output), theirs = Fixture.whole("autoencoder/\(kind)/results.safetensors")
        #expect(Set(ours.values.keys) == Set(theirs.values.keys))
        for (name, expected) in theirs.values {
            #expect(ours[name].shape == expected.shape, "\(name)")
            if name == "codes" {
                #expect(ours[name].floats == expected.floats)
                #expect(report.codesUsed == Set(expected.floats).count)
            } else if name.hasSuffix("to_k.bias") {
                // What is added to all keys alike does not change a softmax: zero but for rounding.
                #expect(ours[name].floats.allSatisfy { abs($0) < 1e-6 })
                #expect(expected.floats.allSatisfy { abs($0) < 1e-9 })
            } else {
                let error = relativeError(ours[name].floats, expected.floats)
                #expect(error < (name.hasPrefix("grad.") ? 1e-3 : 1e-4), "\(name): \(error)")
            }
        }
    }

    /// diffusers knows no codes of length 1: what it makes of an exported codebook is what the plain form makes of it.
    @Test func exportedCodesOfLength1GiveTheSamePictures() throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/vq")
        let unit = directory.file("unit"), exported = directory.file("exported"), plain = directory.file("plain")
        func copy(_ from: String, to: String, _ change: (inout [String: Any]) -> Void) throws {
            try FileManager.default.copyItem(atPath: from, toPath: to)
            let file = URL(fileURLWithPath: to + "/config.json")
            var json = try #require(
                try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
            change(&json)
            try JSONSerialization.data(withJSONObject: json).write(to: file)
        }
        func results(_ checkpoint: String) throws -> Fixture {
            let output = directory.file("results of \(checkpoint.split(separator: "/").last ?? "").safetensors")
            _ = try AutoencodeEvaluation(
                checkpoint: checkpoint, batch: folder + "/batch.safetensors", output: output
            ).run()
            return Fixture.whole(path: output)
        }
        try copy(folder, to: unit) { $0["code_norm"] = "l2" }
        _ = try AutoencoderWeights(unit).writeDiffusers(to: exported)
        #expect(try AutoencoderWeights(exported).configuration == AutoencoderWeights(unit).configuration)
        try copy(exported, to: plain) { $0["code_norm"] = nil }
        #expect(try AutoencoderWeights(plain).configuration.codeNorm == .none)
        let ours = try results(unit), other = try results(folder)
        #expect(ours["codes"].floats != other["codes"].floats)
        for theirs in [try results(exported), try results(plain)] {
            #expect(theirs["codes"].floats == ours["codes"].floats)
            #expect(relativeError(theirs["reconstruction"].floats, ours["reconstruction"].floats) < 1e-5)
        }
    }

    @Test func bf16IsNear() throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/kl")
        let output = directory.file("out.safetensors")
        var evaluation = AutoencodeEvaluation(
            checkpoint: folder, batch: folder + "/batch.safetensors", output: output)
        evaluation.type = .bf16
        _ = try evaluation.run()
        let ours = Fixture.whole(path: output), theirs = Fixture.whole("autoencoder/kl/results.safetensors")
        #expect(relativeError(ours["reconstruction"].floats, theirs["reconstruction"].floats) < 0.05)
    }

    @Test func badBatchesAreRefusedByName() throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/kl")
        func batch(_ name: String, _ tensors: [SafetensorsTensor]) throws -> String {
            try SafetensorsWriter().write(tensors, to: directory.file(name))
            return directory.file(name)
        }
        func zeros(_ name: String, _ shape: [Int]) -> SafetensorsTensor {
            SafetensorsTensor(name, .f32, shape, [Float](repeating: 0, count: shape.reduce(1, *)))
        }
        #expect(
            problem(folder, try batch("odd", [zeros("images", [1, 3, 7, 8])]), directory)
                == "tensor images has pictures of 7 × 8; multiples of 2 are needed")
        #expect(
            problem(folder, try batch("flat", [zeros("images", [3, 8, 8])]), directory)
                == "tensor images has the shape [3, 8, 8], not [N, 3, H, W]")
        #expect(
            problem(folder, try batch("extra", [zeros("images", [1, 3, 8, 8]), zeros("nose", [1])]), directory)
                == "has the unknown tensor nose")
        let noisy = try batch("noisy", [zeros("images", [1, 3, 8, 8]), zeros("noise", [1, 3, 4, 8])])
        #expect(
            problem(folder, noisy, directory)
                == "tensor noise has the shape [1, 3, 4, 8], not the expected [1, 3, 4, 4]")
        #expect(
            problem(Fixtures.path("autoencoder/vq"), noisy, directory) == "has noise, for which a codebook has no use")
    }
}
