import Foundation
import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionConfig

struct ConfigurationChecksTests {
    private func configuration(_ overrides: String...) throws -> RunConfiguration {
        try RunConfiguration(yaml: minimal, overrides: overrides)
    }

    @Test(arguments: [
        ("model.heads=3", "model.heads: 3 heads do not divide the width 256 into equal even parts; use 2 or 4"),
        ("model.heads=256", "use 128"),
        ("model.width=7", "model.heads: 4 heads do not divide the width 7 into equal even parts; use other sizes"),
        ("model.kv_heads=3", "model.kv_heads: 3 key-value heads do not divide the 4 heads; use 2 or 4"),
        ("model.head_width=33", "model.head_width: 33 is odd, and rotary embedding turns pairs; use 32 or 34"),
        ("model.head_width=300000", "model.head_width: must be auto, or integer from 2 to 65536"),
        ("schedule.minimum_learning_rate=0.1", "schedule.minimum_learning_rate: 0.1 is above the learning_rate 0.0003"),
        (
            "schedule.warmup_steps=4000",
            "schedule.warmup_steps: 4000 steps of warm-up, the default, do not fit into 2000 steps"
        ),
        ("schedule.warmup_steps=3000", "schedule.warmup_steps: 3000 steps of warm-up do not fit into 2000 steps"),
        ("batch.micro_sequences=3", "batch.micro_sequences: 3 does not divide the 16 global_sequences; use 2 or 4"),
        ("parallel.tensor=3", "parallel.tensor: 3 ranks do not divide the 4 heads of the model; use 2 or 4"),
        ("samples.every_steps=10", "samples.prompts: is empty; give prompts, or turn samples.every_steps off"),
    ]) func impossibleCombinationsAreRefusedOnReading(_ override: String, _ message: String) {
        let found = problems(in: minimal, overrides: [override])
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test(arguments: [
        ("model.patch_coder=unet", "model.patch_coder: a model without patches (model.images: tokens) has no U-Net"),
        ("model.causal_images=true", "model.causal_images: is for images of patches"),
        ("model.shared_image_position=true", "model.shared_image_position: is for images of patches"),
        ("model.end_of_image_is_target=true", "model.end_of_image_is_target: is for images of patches"),
        ("model.timestep_after_projection=true", "model.timestep_after_projection: is for images of patches"),
    ]) func tokensTakeNoOptionsOfPatches(_ override: String, _ message: String) {
        #expect(problems(in: minimal, overrides: ["model.images=tokens"]).isEmpty)
        let found = problems(in: minimal, overrides: ["model.images=tokens", override])
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test func imagesAreWhatTheDataSetHas() throws {
        func found(_ images: String, codes: Int?) throws -> [String] {
            try configuration("model.images=\(images)").problems(
                imageChannels: codes == nil ? 3 : 1, imageCodes: codes, decodesLatents: codes != nil, imageHeight: 32,
                imageWidth: 32
            ).map(\.description)
        }
        #expect(try found("tokens", codes: 40).isEmpty && found("diffusion", codes: nil).isEmpty)
        #expect(try found("none", codes: 40).isEmpty && found("none", codes: nil).isEmpty)
        #expect(try found("diffusion", codes: 40).contains { $0.contains("set it to tokens") })
        #expect(try found("tokens", codes: nil).contains { $0.contains("has no codes of images") })
    }

    @Test func tensorParallelRanksShareOutTheHeadsOfKeys() {
        func found(_ tensor: Int) -> [String] {
            problems(
                in: minimal,
                overrides: ["model.heads=16", "model.kv_heads=4", "model.head_width=24", "parallel.tensor=\(tensor)"])
        }
        for tensor in [1, 2, 4, 8, 16] { #expect(found(tensor).isEmpty) }
        for (tensor, nearest) in [(3, "2 or 4"), (6, "4 or 8"), (32, "16")] {
            #expect(
                found(tensor).map { String($0.drop { $0 != " " }.dropFirst()) } == [
                    "parallel.tensor: \(tensor) ranks do not divide the 16 heads and 4 key-value heads of the model; use \(nearest)"
                ])
        }
    }

    @Test(arguments: [
        (
            "optimizer.frozen=[model.layer.*]",
            "optimizer.frozen: \"model.layer.*\" matches no parameter of the model; a name is, for example, "
                + "model.embed_tokens.weight"
        ),
        ("optimizer.frozen=[\"*\"]", "optimizer.frozen: leaves no parameter of the model to train; freeze less"),
        (
            "optimizer.frozen=[model.layers.2.self_attn.k_proj.weight]",
            "optimizer.frozen: freezes model.layers.2.self_attn.k_proj.weight and not model.layers.2.self_attn.q_proj.weight, "
                + "which are one product"
        ),
        (
            "optimizer.learning_rate_factors={lm_head: 2}",
            "optimizer.learning_rate_factors: \"lm_head\" matches no parameter"
        ),
        (
            "optimizer.learning_rate_factors={lm_head.weight: 0}",
            "optimizer.learning_rate_factors: \"lm_head.weight\" must be a number above 0, at most 1000, not \"0\"; "
                + "optimizer.frozen stops parameters"
        ),
        (
            "optimizer.learning_rate_factors=[3]",
            "optimizer.learning_rate_factors: must be a mapping of at most 64 patterns"
        ),
    ]) func patternsOfParametersNameSome(_ override: String, _ message: String) {
        let found = problems(in: minimal, overrides: [override])
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
        #expect(
            problems(
                in: minimal,
                overrides: ["optimizer.frozen=[lm_head.*]", "optimizer.learning_rate_factors={lm_head.*: 2}"]
            )
            .map { $0.contains("matches only what optimizer.frozen keeps") } == [true])
    }

    @Test func aMicroBatchHasABoundOfRows() throws {
        func found(_ micro: Int) -> [String] {
            problems(
                in: minimal,
                overrides: [
                    "batch.sequence_length=1048576", "batch.global_sequences=1048576", "batch.micro_sequences=\(micro)",
                ])
        }
        #expect(found(16).isEmpty)
        #expect(found(65536).count == 1 && found(65536)[0].hasSuffix("use at most 16"), "\(found(65536))")
    }

    @Test func ranksMustFitTheBatch() throws {
        #expect(try configuration("batch.micro_sequences=4").problems(ranks: 4).isEmpty)
        let tooMany = try configuration("batch.micro_sequences=4").problems(ranks: 5)
        #expect(tooMany.map(\.key) == ["batch.global_sequences"])
        #expect(tooMany[0].message.hasSuffix("too few for 5 ranks; use at least 20, or at most 4 ranks"))
        #expect(try configuration("parallel.data=2").problems(ranks: 2).isEmpty)
        let other = try configuration("parallel.data=2").problems(ranks: 3)
        #expect(other.map(\.description) == ["parallel.data: 2 is not the number of ranks, 3; use auto or 3"])
    }

    @Test func ranksMustFitTheLayout() throws {
        #expect(try configuration("parallel.tensor=2").problems(ranks: 8).isEmpty)
        let odd = try configuration("parallel.tensor=2").problems(ranks: 3)
        #expect(odd.map(\.description) == ["parallel.tensor: 2 does not divide the number of ranks, 3; use 1"])
        let product = try configuration("parallel.tensor=2", "parallel.data=3").problems(ranks: 8)
        #expect(
            product.map(\.description) == [
                "parallel.data: 3 is not the number of ranks, 8 / tensor 2; use auto or 4"
            ])
        #expect(try configuration("parallel.reduction=elastic").problems(ranks: 4).isEmpty)
        let elastic = try configuration("parallel.reduction=elastic", "batch.global_sequences=12").problems(ranks: 3)
        #expect(
            elastic.map(\.description) == [
                "parallel.reduction: elastic needs powers of two, not 12 micro-batches on 3 data-parallel ranks; "
                    + "use 8 or 16 micro-batches and 2 or 4 ranks, or fast"
            ])
    }

    @Test func patchesMustFitTheImagesAndTheSequence() throws {
        #expect(try configuration("model.patch=8").problems(imageHeight: 32, imageWidth: 32).isEmpty)
        let odd = try configuration("model.patch=7").problems(imageHeight: 32, imageWidth: 48)
        #expect(odd.map(\.key) == ["model.patch"] && odd[0].message.hasSuffix("32 × 48; use 4 or 8"))
        let small = try configuration("model.patch=2", "batch.sequence_length=256")
            .problems(imageHeight: 32, imageWidth: 32)
        #expect(small.map(\.key) == ["batch.sequence_length"] && small[0].message.contains("use at least 260"))
    }

    @Test func theModelTakesItsSizesFromTheConfiguration() throws {
        let model = try configuration("model.patch=8", "model.shared_image_position=true").modelConfiguration(
            vocabulary: 1026, imageChannels: 3, imageHeight: 32, imageWidth: 32, beginOfText: 1, endOfText: 2,
            beginOfImage: 1024, endOfImage: 1025)
        #expect(model.problems().isEmpty)
        #expect(model.layers == 4 && model.width == 256 && model.feedForward == 688 && model.patchesPerImage == 16)
        #expect(model.rowOptions.sharedImagePosition && !model.rowOptions.endOfImageIsTarget)
    }

    @Test func theReferencePageAgreesWithTheKeys() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/configuration.md").standardized
        let text = try String(contentsOf: page, encoding: .utf8)
        let introduction = text.prefix(upTo: text.range(of: "\n### run\n")?.lowerBound ?? text.endIndex)
        if ProcessInfo.processInfo.environment["WRITE_REFERENCE"] != nil {
            try (introduction + ConfigurationKey.reference).write(to: page, atomically: true, encoding: .utf8)
        } else {
            #expect(
                text == introduction + ConfigurationKey.reference,
                "run WRITE_REFERENCE=1 swift test --filter ConfigurationChecksTests")
        }
        for key in ConfigurationKey.all {
            #expect(key.summary.hasSuffix("."), "\(key.path)")
        }
    }
}
