// swift-tools-version: 6.2
import PackageDescription

/// One list for every Swift target; each flag with the proposal that explains it.
let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .treatAllWarnings(as: .error),  // SE-0480
    .treatWarning("DeprecatedDeclaration", as: .warning),
]

/// What tests compute themselves is little, and to compile them for speed would take minutes.
let testSettings = swiftSettings + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

func command(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name,
        dependencies: dependencies + ["TransfusionSupport", "TransfusionConfig", "RecordedCommit", argumentParser],
        swiftSettings: swiftSettings)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency], settings: [SwiftSetting] = testSettings
) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: dependencies + [.target(name: name), "_TestUtilities"],
        swiftSettings: settings)
}

func system(_ name: String, pkgConfig: String?, _ packages: String...) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt(packages)])
}

let package = Package(
    name: "transfusion",
    products: [
        .executable(name: "tf-worker", targets: ["tf-worker"]),
        .executable(name: "tf-coord", targets: ["tf-coord"]),
        .executable(name: "tf-data", targets: ["tf-data"]),
        .executable(name: "tf-sample", targets: ["tf-sample"]),
        .executable(name: "tf-eval", targets: ["tf-eval"]),
        .executable(name: "tf-ckpt", targets: ["tf-ckpt"]),
        .executable(name: "tf-bench", targets: ["tf-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.20.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // System libraries and C code. Each imports nothing of the project.
        .target(
            name: "CKernels",
            cSettings: [
                .define("NDEBUG", .when(configuration: .release)),
                // Kernels are vectorised in every configuration; without -ffast-math, so NaN and Inf survive.
                .unsafeFlags(["-O3", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]),
            ],
            linkerSettings: [.linkedLibrary("m")]),
        system("CMPI", pkgConfig: "ompi-c", "libopenmpi-dev"),
        system("COpenBLAS", pkgConfig: "openblas", "libopenblas-dev"),
        system("COneDNN", pkgConfig: nil, "libdnnl-dev"),
        system("CZstd", pkgConfig: "libzstd", "libzstd-dev"),
        system("CZlib", pkgConfig: "zlib", "zlib1g-dev"),
        system("CDeflate", pkgConfig: "libdeflate", "libdeflate-dev"),
        system("CSnappy", pkgConfig: nil, "libsnappy-dev"),
        system("COpenSSL", pkgConfig: "openssl", "libssl-dev"),
        system("CSQLite", pkgConfig: "sqlite3", "libsqlite3-dev"),
        system("CFreeType", pkgConfig: "freetype2", "libfreetype-dev"),
        .target(name: "CPNG", linkerSettings: [.linkedLibrary("png")]),
        .target(name: "CJPEG", linkerSettings: [.linkedLibrary("jpeg")]),
        .target(name: "CWebP", linkerSettings: [.linkedLibrary("webpdemux"), .linkedLibrary("webp")]),
        .target(
            name: "CSentencePiece",
            cxxSettings: [.unsafeFlags(["-std=c++17"])],
            linkerSettings: [.linkedLibrary("sentencepiece"), .linkedLibrary("sentencepiece_train")]),

        .plugin(name: "RecordCommit", capability: .buildTool()),
        .target(name: "RecordedCommit", swiftSettings: swiftSettings, plugins: ["RecordCommit"]),
        .target(name: "CVersion"),

        // Libraries, each importing only those above it.
        library("TransfusionSupport", ["CVersion", .product(name: "SystemPackage", package: "swift-system")]),
        library("TransfusionCore", ["CKernels", "COpenBLAS", "COneDNN", "COpenSSL"]),
        library("TransfusionModels", ["TransfusionCore"]),
        library(
            "TransfusionConfig",
            ["TransfusionSupport", "TransfusionCore", "TransfusionModels", "Yams", argumentParser]),
        library("TransfusionTelemetry", ["TransfusionSupport", "TransfusionConfig", "COpenSSL"]),
        library("TransfusionParallel", ["TransfusionCore", "CKernels", "CMPI"]),
        library(
            "TransfusionData",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig", "CKernels",
                "CSentencePiece", "CFreeType", "CPNG", "CJPEG", "CWebP", "CZlib", "CDeflate", "CSnappy", "CZstd",
            ]),
        library(
            "TransfusionCheckpoint",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig", "TransfusionData",
                "COpenSSL", "CZstd",
            ]),
        library(
            "TransfusionTraining",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionTelemetry",
                "TransfusionParallel", "TransfusionData", "TransfusionCheckpoint", "TransfusionInference",
            ]),
        library(
            "TransfusionInference",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig", "TransfusionData",
                "TransfusionCheckpoint",
            ]),
        library(
            "TransfusionEvaluation",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionParallel",
                "TransfusionData",
                "TransfusionCheckpoint", "TransfusionInference", "CDeflate",
            ]),
        library(
            "TransfusionHTTP",
            [
                "TransfusionConfig", "COpenSSL",
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ]),
        .target(
            name: "TransfusionCoordinator",
            dependencies: [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionTelemetry",
                "TransfusionCheckpoint", "TransfusionHTTP", "COpenSSL", "CSQLite",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
            ],
            // In the program itself, so that it needs no files beside it.
            resources: ["index.html", "dashboard.css", "dashboard.js", "charts.js"].map {
                .embedInCode("Dashboard/\($0)")
            },
            swiftSettings: swiftSettings),
        library(
            "TransfusionBenchmarks",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionTelemetry", "TransfusionParallel", "TransfusionData", "TransfusionCheckpoint",
                "TransfusionInference", "TransfusionTraining",
            ]),

        // Commands: argument parsing and printing only.
        command(
            "tf-worker", ["TransfusionTelemetry", "TransfusionTraining", "TransfusionParallel"]),
        command("tf-data", ["TransfusionData", "TransfusionCore", "TransfusionInference", "TransfusionParallel"]),
        command("tf-sample", ["TransfusionInference", "TransfusionData"]),
        command("tf-eval", ["TransfusionEvaluation", "TransfusionParallel", "TransfusionTraining"]),
        command("tf-ckpt", ["TransfusionCore", "TransfusionModels", "TransfusionCheckpoint"]),
        command(
            "tf-coord",
            [
                "TransfusionCoordinator", "TransfusionCore", "TransfusionModels", "TransfusionData",
                "TransfusionCheckpoint",
            ]),
        command(
            "tf-bench",
            [
                "TransfusionBenchmarks", "TransfusionParallel", "TransfusionCore", "TransfusionModels",
                "TransfusionData", "TransfusionCheckpoint", "TransfusionTelemetry",
            ]),

        // Tests mirror the sources. They name every module that they import: what is not named is not built anew for them.
        .target(
            name: "_TestUtilities",
            dependencies: ["TransfusionCore", "TransfusionModels", "TransfusionData", "TransfusionCheckpoint"],
            path: "Tests/_TestUtilities",
            swiftSettings: swiftSettings),
        tests("TransfusionSupport", []),
        // Their references are long loops.
        tests("TransfusionCore", [], settings: swiftSettings),
        tests("TransfusionModels", ["TransfusionCore"]),
        tests("TransfusionConfig", ["TransfusionSupport", "TransfusionCore", "TransfusionModels"]),
        tests("TransfusionTelemetry", ["TransfusionSupport", "TransfusionConfig"]),
        .executableTarget(
            name: "CollectivesProbe", dependencies: ["TransfusionCore", "TransfusionModels", "TransfusionParallel"],
            path: "Tests/CollectivesProbe", swiftSettings: swiftSettings),
        tests("TransfusionParallel", ["TransfusionCore", "TransfusionModels", "CKernels", "CollectivesProbe"]),
        tests("TransfusionData", ["TransfusionCore", "TransfusionModels"]),
        tests("TransfusionCheckpoint", ["TransfusionCore", "TransfusionModels", "TransfusionConfig"]),
        tests(
            "TransfusionTraining",
            [
                "TransfusionCore", "TransfusionModels", "TransfusionConfig", "TransfusionTelemetry",
                "TransfusionParallel",
                "TransfusionData", "TransfusionCheckpoint",
            ]),
        tests(
            "TransfusionInference", ["TransfusionCore", "TransfusionModels", "TransfusionConfig", "TransfusionData"]),
        tests(
            "TransfusionEvaluation",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionCheckpoint", "TransfusionInference",
            ]),
        tests(
            "TransfusionCoordinator",
            [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionConfig",
                "TransfusionTelemetry",
                "TransfusionCheckpoint", "TransfusionHTTP",
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ]),
        tests("TransfusionBenchmarks", ["TransfusionCore", "TransfusionModels", "TransfusionConfig"]),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "TransfusionSupport", "TransfusionCore", "TransfusionModels", "TransfusionTelemetry",
                "TransfusionData", "TransfusionCheckpoint",
                "TransfusionCoordinator", "_TestUtilities", "Yams", "tf-worker", "tf-coord", "tf-data", "tf-sample",
                "tf-eval", "tf-ckpt", "tf-bench",
            ],
            swiftSettings: testSettings),
    ],
    swiftLanguageModes: [.v6]
)
