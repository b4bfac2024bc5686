import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionEvaluation

struct ForwardEvaluationTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func evaluate(
        _ model: String, type: ElementType, gradients: Bool = true
    ) throws -> (report: ForwardEvaluation.Report, file: SafetensorsFile) {
        var evaluation = ForwardEvaluation(
            checkpoint: Fixtures.path(model), batch: Fixtures.path(model + "/batch.safetensors"),
            output: directory.file("out.safetensors"))
        evaluation.computesGradients = gradients
        evaluation.type = type
        evaluation.threads = 2
        return (try evaluation.run(), try SafetensorsFile(evaluation.output))
    }

    /// The second model attends across documents, shares image positions and has EOI as a target.
    @Test(arguments: ["model", "model_options"]) func agreesWithPyTorchInF32(_ model: String) throws {
        let (_, file) = try evaluate(model, type: .f32)
        let reference = Fixture.whole(model + "/reference.safetensors")
        #expect(Set(file.entries.map(\.name)) == Set(reference.values.keys))
        for (name, expected) in reference.values {
            let tolerance = name.hasPrefix("grad.") ? 1e-5 : 1e-6
            #expect(relativeError(try file.floats(name), expected.floats) < tolerance, "\(name)")
            #expect(file[name]?.shape == expected.shape, "\(name)")
        }
    }

    @Test(arguments: ["model", "model_options"]) func lossesInBF16AreClose(_ model: String) throws {
        let (report, file) = try evaluate(model, type: .bf16)
        let reference = Fixture.whole(model + "/reference.safetensors")
        for name in ["loss", "loss_text", "loss_image"] {
            #expect(relativeError(try file.floats(name), reference[name].floats) < 1e-2, "\(name)")
        }
        #expect(Float(report.loss) == (try file.floats("loss")[0]))
    }

    @Test func withoutGradientsTheLossesAreTheSame() throws {
        let with = try evaluate("model", type: .f32)
        let without = try evaluate("model", type: .f32, gradients: false)
        #expect(with.report == without.report)
        #expect(!without.file.entries.contains { $0.name.hasPrefix("grad.") })
    }

    /// The total and its gradients are those of the λ that the run was trained with.
    @Test func theLossWeightIsTheOneAskedFor() throws {
        func evaluate(_ weight: Double?) throws -> (report: ForwardEvaluation.Report, gradient: [Float]) {
            var evaluation = ForwardEvaluation(
                checkpoint: Fixtures.path("model"), batch: Fixtures.path("model/batch.safetensors"),
                output: directory.file("out.safetensors"))
            evaluation.computesGradients = true
            evaluation.imageLossWeight = weight
            let report = try evaluation.run()
            let file = try SafetensorsFile(evaluation.output)
            // Only the image loss reaches the decoder of patches.
            return (report, try file.floats("grad.patch_decoder.projection.weight"))
        }
        let paper = try evaluate(nil), other = try evaluate(2)
        #expect(paper.report.imageLossWeight == 5 && other.report.imageLossWeight == 2)
        let parts = other.report.losses.means
        let text = try #require(parts["text"]), image = try #require(parts["image"])
        #expect(abs(other.report.loss - (text + 2 * image)) < 1e-6)
        #expect(paper.report.losses.means == parts)
        #expect(relativeError(other.gradient.map { $0 * 2.5 }, paper.gradient) < 1e-5)
    }

    @Test func batchWithoutImagesNeedsNoneOfTheirTensors() throws {
        let model = try ModelOnDisk()
        try SafetensorsWriter().write(
            [
                SafetensorsTensor("tokens", .i32, [5], [1, 9, 10, 11, 2] as [Int32]),
                SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            ], to: directory.file("text.safetensors"))
        var evaluation = ForwardEvaluation(
            checkpoint: model.path, batch: directory.file("text.safetensors"),
            output: directory.file("out.safetensors"))
        evaluation.computesGradients = true
        let report = try evaluation.run()
        #expect((report.targets, report.images, report.losses.means["image"]) == (4, 0, 0))
        let text = try #require(report.losses.means["text"])
        let json = try JSONSerialization.jsonObject(with: JSONEncoder().encode(report)) as? [String: Any]
        #expect(
            Set(try #require(json).keys)
                == ["loss", "loss_text", "loss_image", "image_loss_weight", "targets", "images", "output"])
        // JSONSerialization reads a third of all numbers one bit beside what was written.
        struct Losses: Decodable { let loss, loss_text: Double }
        let written = try JSONDecoder().decode(Losses.self, from: JSONEncoder().encode(report))
        #expect(text > 0 && written.loss_text == text && written.loss == text)
        let file = try SafetensorsFile(evaluation.output)
        #expect(file["noise_prediction"]?.shape == [0, 3, 8, 8])
        #expect(try file.floats("grad.patch_decoder.projection.weight").allSatisfy { $0 == 0 })
        #expect(try file.floats("grad.lm_head.weight").contains { $0 != 0 })
    }

    /// A batch that is right, with one tensor changed.
    private func problem(
        _ name: String, _ tensor: SafetensorsTensor?, model: ModelOnDisk
    ) throws -> String {
        let image = [Float](repeating: 0.5, count: 3 * 64)
        var tensors = [
            SafetensorsTensor("tokens", .i32, [9], [1, 9, 400, -1, -1, -1, -1, 401, 2] as [Int32]),
            SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            SafetensorsTensor("image_starts", .i32, [1], [3] as [Int32]),
            SafetensorsTensor("latents", .f32, [1, 3, 8, 8], image),
            SafetensorsTensor("noise", .f32, [1, 3, 8, 8], image),
            SafetensorsTensor("timesteps", .i32, [1], [999] as [Int32]),
        ].filter { $0.name != name }
        if let tensor { tensors.append(tensor) }
        let path = directory.file("batch.safetensors")
        try SafetensorsWriter().write(tensors, to: path)
        let output = directory.file("none.safetensors")
        do {
            _ = try ForwardEvaluation(checkpoint: model.path, batch: path, output: output).run()
            try FileManager.default.removeItem(atPath: output)
            return ""
        } catch {
            #expect(!FileManager.default.fileExists(atPath: output))
            return "\(error)"
        }
    }

    @Test func batchesThatAreNoneAreRefusedByName() throws {
        let model = try ModelOnDisk()
        func problem(_ name: String, _ values: [Int32]?) throws -> String {
            try self.problem(name, values.map { SafetensorsTensor(name, .i32, [$0.count], $0) }, model: model)
        }
        #expect(try problem("", nil) == "")
        #expect(try problem("tokens", nil).contains("has no tensor tokens"))
        #expect(try problem("tokens", []).contains("has no rows"))
        #expect(try problem("tokens", [1, 402, 400, -1, -1, -1, -1, 401, 2]).contains("tokens[1] is 402"))
        #expect(try problem("tokens", [1, -2, 400, -1, -1, -1, -1, 401, 2]).contains("tokens[1] is -2"))
        #expect(try problem("tokens", [1, 9, 400, -1, -1, -1, 7, 401, 2]).contains("row 6"))
        #expect(try problem("document_starts", [1]).contains("document_starts"))
        #expect(try problem("document_starts", [0, 20]).contains("document_starts"))
        #expect(try problem("document_starts", [0, 4]).contains("inside the image"))
        #expect(try problem("image_starts", [6]).contains("row 6"))
        #expect(try problem("image_starts", [-3]).contains("row -3"))
        #expect(try problem("image_starts", [Int32.max]).contains("image at row"))
        #expect(try problem("timesteps", [1000]).contains("timesteps[0] is 1000"))
        #expect(try problem("timesteps", [-1]).contains("timesteps[0] is -1"))
        #expect(try problem("timesteps", [1, 2]).contains("2 timesteps for 1 images"))
        #expect(try problem("sequence_length", [0]).contains("sequence_length"))
        #expect(try problem("token", [0]).contains("unknown tensor token"))
        let flat = SafetensorsTensor("noise", .f32, [1, 192], [Float](repeating: 0, count: 192))
        #expect(try self.problem("noise", flat, model: model).contains("[1, 3, 8, 8]"))
        let wide = SafetensorsTensor("tokens", .i64, [1], [1] as [Int64])
        #expect(try self.problem("tokens", wide, model: model).contains("elements of i64"))
    }
}
