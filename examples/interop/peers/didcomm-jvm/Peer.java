import com.nimbusds.jose.util.JSONObjectUtils;
import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.didcommx.didcomm.DIDComm;
import org.didcommx.didcomm.common.AnonCryptAlg;
import org.didcommx.didcomm.common.AuthCryptAlg;
import org.didcommx.didcomm.common.SignAlg;
import org.didcommx.didcomm.common.VerificationMaterial;
import org.didcommx.didcomm.common.VerificationMaterialFormat;
import org.didcommx.didcomm.common.VerificationMethodType;
import org.didcommx.didcomm.diddoc.DIDCommService;
import org.didcommx.didcomm.diddoc.DIDDoc;
import org.didcommx.didcomm.diddoc.DIDDocResolver;
import org.didcommx.didcomm.diddoc.DIDDocResolverInMemory;
import org.didcommx.didcomm.diddoc.VerificationMethod;
import org.didcommx.didcomm.message.FromPrior;
import org.didcommx.didcomm.message.Message;
import org.didcommx.didcomm.model.Metadata;
import org.didcommx.didcomm.model.PackEncryptedParams;
import org.didcommx.didcomm.model.PackPlaintextParams;
import org.didcommx.didcomm.model.PackSignedParams;
import org.didcommx.didcomm.model.UnpackParams;
import org.didcommx.didcomm.model.UnpackResult;
import org.didcommx.didcomm.protocols.routing.Routing;
import org.didcommx.didcomm.protocols.routing.UnpackForwardResult;
import org.didcommx.didcomm.secret.Secret;
import org.didcommx.didcomm.secret.SecretResolver;
import org.didcommx.didcomm.secret.SecretResolverInMemory;

/**
 * SICPA's DIDComm library for the JVM behind the interop suite's JSON lines.
 *
 * <p>One request a line on standard input, one answer a line on standard output; all else goes to
 * standard error. Only the library's public calls are used.
 */
public final class Peer {
  private static final Map<String, AnonCryptAlg> ANONCRYPT =
      Map.of(
          "A256CBC-HS512", AnonCryptAlg.A256CBC_HS512_ECDH_ES_A256KW,
          "A256GCM", AnonCryptAlg.A256GCM_ECDH_ES_A256KW,
          "XC20P", AnonCryptAlg.XC20P_ECDH_ES_A256KW);

  private static final Map<AuthCryptAlg, String> AUTHCRYPT =
      Map.of(AuthCryptAlg.A256CBC_HS512_ECDH_1PU_A256KW, "A256CBC-HS512");

  private static final Map<SignAlg, String> SIGNATURES =
      Map.of(SignAlg.ED25519, "EdDSA", SignAlg.ES256, "ES256", SignAlg.ES256K, "ES256K");

  private static final Map<String, VerificationMethodType> TYPES =
      Map.of(
          "JsonWebKey2020", VerificationMethodType.JSON_WEB_KEY_2020,
          "X25519KeyAgreementKey2019", VerificationMethodType.X25519_KEY_AGREEMENT_KEY_2019,
          "Ed25519VerificationKey2018", VerificationMethodType.ED25519_VERIFICATION_KEY_2018,
          "X25519KeyAgreementKey2020", VerificationMethodType.X25519_KEY_AGREEMENT_KEY_2020,
          "Ed25519VerificationKey2020", VerificationMethodType.ED25519_VERIFICATION_KEY_2020);

  /** Something that the library does not offer. */
  private static final class Lacks extends Exception {
    Lacks(String what) {
      super(what);
    }
  }

  /** The params of a request, and the library with the keys and documents that came with it. */
  private static final class Request {
    final Map<String, Object> params;
    final SecretResolver secrets;
    final DIDDocResolver documents;

    Request(Map<String, Object> params) {
      this.params = params;
      List<Secret> secrets = new ArrayList<>();
      for (Map<String, Object> jwk : objects(params, "secrets")) {
        secrets.add(
            new Secret(
                string(jwk, "kid"),
                VerificationMethodType.JSON_WEB_KEY_2020,
                new VerificationMaterial(
                    VerificationMaterialFormat.JWK, JSONObjectUtils.toJSONString(jwk))));
      }
      this.secrets = new SecretResolverInMemory(secrets);
      List<DIDDoc> documents = new ArrayList<>();
      for (Map<String, Object> document : objects(params, "documents")) {
        documents.add(document(document));
      }
      this.documents = new DIDDocResolverInMemory(documents);
    }

    String text(String name) {
      return string(params, name);
    }

    boolean is(String name) {
      return Boolean.TRUE.equals(params.get(name));
    }

    Map<String, Object> object(String name) {
      return map(params.get(name));
    }

    /** The envelope as it is sent; one in Compact serialization is a string. */
    String envelope() {
      return params.get("envelope") instanceof String compact
          ? compact
          : JSONObjectUtils.toJSONString(object("envelope"));
    }
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> map(Object value) {
    return (Map<String, Object>) value;
  }

  private static String string(Map<String, Object> object, String name) {
    return (String) object.get(name);
  }

  @SuppressWarnings("unchecked")
  private static List<String> strings(Map<String, Object> object, String name) {
    return (List<String>) object.getOrDefault(name, Collections.emptyList());
  }

  @SuppressWarnings("unchecked")
  private static List<Map<String, Object>> objects(Map<String, Object> object, String name) {
    return (List<Map<String, Object>>) object.getOrDefault(name, Collections.emptyList());
  }

  /** A document in the library's terms, which has no parser for them. */
  private static DIDDoc document(Map<String, Object> document) {
    List<VerificationMethod> methods = new ArrayList<>();
    for (Map<String, Object> method : objects(document, "verificationMethod")) {
      methods.add(
          new VerificationMethod(
              string(method, "id"),
              TYPES.getOrDefault(string(method, "type"), VerificationMethodType.OTHER),
              material(method),
              string(method, "controller")));
    }
    List<DIDCommService> services = new ArrayList<>();
    for (Map<String, Object> service : objects(document, "service")) {
      Map<String, Object> endpoint = map(service.get("serviceEndpoint"));
      services.add(
          new DIDCommService(
              string(service, "id"),
              string(endpoint, "uri"),
              strings(endpoint, "routingKeys"),
              strings(endpoint, "accept")));
    }
    return new DIDDoc(
        string(document, "id"),
        strings(document, "keyAgreement"),
        strings(document, "authentication"),
        methods,
        services);
  }

  private static VerificationMaterial material(Map<String, Object> method) {
    if (method.containsKey("publicKeyJwk")) {
      return new VerificationMaterial(
          VerificationMaterialFormat.JWK,
          JSONObjectUtils.toJSONString(map(method.get("publicKeyJwk"))));
    }
    if (method.containsKey("publicKeyBase58")) {
      return new VerificationMaterial(
          VerificationMaterialFormat.BASE58, string(method, "publicKeyBase58"));
    }
    return new VerificationMaterial(
        VerificationMaterialFormat.MULTIBASE, string(method, "publicKeyMultibase"));
  }

  private static Map<String, Object> hello() throws Exception {
    // The manifest's exact pins are the versions.
    String jar = DIDComm.class.getProtectionDomain().getCodeSource().getLocation().getPath();
    String version = jar.replaceFirst(".*/didcomm-", "").replaceFirst("\\.jar$", "");
    return Map.of(
        "name", "didcomm-jvm",
        "language", "Java " + Runtime.version().feature(),
        "versions", Map.of("org.didcommx:didcomm", version));
  }

  /** The message to pack, with the claims of a from_prior as its builder takes them. */
  private static Message message(Map<String, Object> json) {
    Map<String, Object> members = new HashMap<>(json);
    FromPrior claims = FromPrior.Companion.parse(map(members.remove("from_prior")));
    Message m = Message.Companion.parse(members);
    if (claims == null) {
      return m;
    }
    return new Message(
        m.getId(), m.getBody(), m.getType(), m.getTyp(), m.getFrom(), m.getTo(),
        m.getCreatedTime(), m.getExpiresTime(), claims, null, m.getAttachments(),
        m.getPleaseAck(), m.getAck(), m.getThid(), m.getPthid(), m.getCustomHeaders());
  }

  private static Map<String, Object> pack(Request request) throws Exception {
    return Map.of("envelope", JSONObjectUtils.parse(packing(request).call()));
  }

  /** Packs what the request asks for each time that it is called. */
  private static Callable<String> packing(Request request) throws Exception {
    DIDComm didcomm = new DIDComm(request.documents, request.secrets);
    Message message = message(request.object("message"));
    String issuer = request.text("from_prior_issuer_kid");
    if (request.text("to") != null) {
      PackEncryptedParams.Builder params =
          PackEncryptedParams.Companion.builder(message, request.text("to"))
              .protectSenderId(request.is("protect_sender"))
              .forward(request.is("forward"));
      if (request.text("from") != null) {
        params.from(request.text("from"));
      }
      if (request.text("sign_by") != null) {
        params.signFrom(request.text("sign_by"));
      }
      if (request.text("enc") != null) {
        if (!ANONCRYPT.containsKey(request.text("enc"))) {
          throw new Lacks("enc " + request.text("enc"));
        }
        params.encAlgAnon(ANONCRYPT.get(request.text("enc")));
      }
      if (issuer != null) {
        params.fromPriorIssuerKid(issuer);
      }
      PackEncryptedParams built = params.build();
      return () -> didcomm.packEncrypted(built).getPackedMessage();
    }
    if (request.text("sign_by") != null) {
      PackSignedParams.Builder params =
          PackSignedParams.Companion.builder(message, request.text("sign_by"));
      if (issuer != null) {
        params.fromPriorIssuerKid(issuer);
      }
      PackSignedParams built = params.build();
      return () -> didcomm.packSigned(built).getPackedMessage();
    }
    PackPlaintextParams.Builder params = PackPlaintextParams.Companion.builder(message);
    if (issuer != null) {
      params.fromPriorIssuerKid(issuer);
    }
    PackPlaintextParams built = params.build();
    return () -> didcomm.packPlaintext(built).getPackedMessage();
  }

  /** Opens the request's envelope each time that it is called. */
  private static Callable<UnpackResult> opening(Request request) {
    DIDComm didcomm = new DIDComm(request.documents, request.secrets);
    String envelope = request.envelope();
    UnpackParams params = new UnpackParams.Builder(envelope).build();
    return () -> didcomm.unpack(params);
  }

  /** An opened message. What an attachment's data has not, toJSONObject writes as null. */
  private static Map<String, Object> json(Message message) {
    Map<String, Object> members = new HashMap<>(message.toJSONObject());
    if (members.containsKey("attachments")) {
      List<Object> attachments = new ArrayList<>();
      for (Map<String, Object> attachment : objects(members, "attachments")) {
        Map<String, Object> data = new HashMap<>(map(attachment.get("data")));
        data.values().removeIf(value -> value == null);
        Map<String, Object> copy = new HashMap<>(attachment);
        copy.put("data", data);
        attachments.add(copy);
      }
      members.put("attachments", attachments);
    }
    return members;
  }

  private static Map<String, Object> unpack(Request request) throws Exception {
    UnpackResult opened = opening(request).call();
    Metadata m = opened.getMetadata();
    Map<String, Object> metadata = new TreeMap<>();
    metadata.put("encrypted", m.getEncrypted());
    metadata.put("authenticated", m.getAuthenticated());
    metadata.put("non_repudiation", m.getNonRepudiation());
    metadata.put("anonymous_sender", m.getAnonymousSender());
    metadata.put("re_wrapped_in_forward", m.getReWrappedInForward());
    metadata.put("encrypted_from_kid", m.getEncryptedFrom());
    // Not getEncryptedTo: of several recipients it names the one whose key was used.
    metadata.put("sign_from", m.getSignFrom());
    metadata.put("sign_alg", m.getSignAlg() == null ? null : SIGNATURES.get(m.getSignAlg()));
    metadata.put("enc_alg_auth", m.getEncAlgAuth() == null ? null : AUTHCRYPT.get(m.getEncAlgAuth()));
    for (Map.Entry<String, AnonCryptAlg> alg : ANONCRYPT.entrySet()) {
      if (alg.getValue() == m.getEncAlgAnon()) {
        metadata.put("enc_alg_anon", alg.getKey());
      }
    }
    metadata.put("from_prior_issuer_kid", m.getFromPriorIssuerKid());
    metadata.values().removeIf(value -> value == null);

    Map<String, Object> result = new HashMap<>();
    FromPrior claims = opened.getMessage().getFromPrior();
    result.put("from_prior", claims == null ? null : claims.toJSONObject());
    result.put("message", json(opened.getMessage()));
    result.put("metadata", metadata);
    return result;
  }

  /** The mediator's part: opens one forward. */
  private static Map<String, Object> unwrap(Request request) throws Exception {
    String envelope = request.envelope();
    UnpackForwardResult opened =
        new Routing(request.documents, request.secrets).unpackForward(envelope, false, null, null);
    Map<String, Object> result = new HashMap<>();
    result.put("next", opened.getForwardMsg().getForwardNext());
    result.put("envelope", opened.getForwardMsg().getForwardedMsg());
    result.put("encrypted_to_kids", opened.getForwardedMsgEncryptedTo());
    return result;
  }

  /** Packs, or opens the envelope that is given, many times over, with all else read once. */
  private static Map<String, Object> bench(Request request) throws Exception {
    Callable<?> operation =
        request.params.containsKey("envelope") ? opening(request) : packing(request);
    OperatingSystemMXBean system =
        ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    long began = system.getProcessCpuTime();
    for (long i = ((Number) request.params.get("times")).longValue(); i > 0; i--) {
      operation.call();
    }
    return Map.of("nanoseconds", system.getProcessCpuTime() - began);
  }

  private static Map<String, Object> operate(String op, Map<String, Object> params)
      throws Exception {
    switch (op) {
      case "hello":
        return hello();
      case "pack":
        return pack(new Request(params));
      case "unpack":
        return unpack(new Request(params));
      case "unwrap":
        return unwrap(new Request(params));
      case "bench":
        return bench(new Request(params));
      case "resolve":
        throw new Lacks("no resolver for " + params.get("did"));
      default:
        throw new Lacks("operation " + op);
    }
  }

  private static Map<String, Object> answer(String line) throws Exception {
    Map<String, Object> request = JSONObjectUtils.parse(line);
    Map<String, Object> answer = new HashMap<>();
    answer.put("id", request.get("id"));
    String op = string(request, "op");
    try {
      Map<String, Object> params = map(request.get("params"));
      answer.put("result", operate(op, params == null ? Collections.emptyMap() : params));
    } catch (Throwable e) { // the library's exceptions are Throwables and no Exceptions
      System.err.println(op + ": " + e);
      String type = e instanceof Lacks ? "lacks" : e.getClass().getSimpleName();
      String because = e.getCause() == null ? "" : " because of " + e.getCause();
      answer.put("error", Map.of("type", type, "message", e.getMessage() + because));
    }
    return answer;
  }

  public static void main(String[] args) throws Exception {
    // The answers keep the real standard output; whatever prints goes to stderr.
    PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
    System.setOut(System.err);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(new FileInputStream(FileDescriptor.in), "UTF-8"));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      answers.println(JSONObjectUtils.toJSONString(answer(line)));
    }
  }
}
