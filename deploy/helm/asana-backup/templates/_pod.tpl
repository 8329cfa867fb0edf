{{/* The pod, the same for every workload but for what it is told to do: dict "root" $ "args" list "daemon" false. */}}

{{- define "asana-backup.labels" -}}
app.kubernetes.io/name: asana-backup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "asana-backup.meta" -}}
{{ include "asana-backup.labels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* A short name makes room for what the workloads add. */}}
{{- define "asana-backup.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "asana-backup.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* From the table of exit codes: what trying again cannot mend fails at once; a drained node counts for nothing. */}}
{{- define "asana-backup.failures" -}}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: {{ . }}
      onExitCodes:
        containerName: asana-backup
        operator: In
        values:
          - 10
          - 12
          - 14
          - 20
          - 21
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          # Needed before Kubernetes 1.34.
          status: "True"
{{- end }}

{{- define "asana-backup.template" -}}
{{- $root := .root }}
{{- $daemon := .daemon }}
metadata:
  labels:
    {{- include "asana-backup.labels" $root | nindent 4 }}
    {{- if $daemon }}
    app.kubernetes.io/component: daemon
  annotations:
    # A changed config rolls the daemon out again.
    checksum/config: {{ $root.Values.config | sha256sum }}
    {{- end }}
spec:
  serviceAccountName: {{ include "asana-backup.name" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if not $daemon }}
  restartPolicy: Never
  {{- end }}
  terminationGracePeriodSeconds: 30
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: asana-backup
      image: {{ include "asana-backup.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        - name: TMPDIR
          value: /spool
        {{- if $daemon }}
        # A container that is started anew in the same pod takes over at once.
        - name: ASANA_BACKUP_HOLDER
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- else }}
        # The next attempt of the same Job takes over at once; another Job finds the claim held.
        - name: JOB
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['batch.kubernetes.io/job-name']
        - name: JOB_UID
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['batch.kubernetes.io/controller-uid']
        - name: ASANA_BACKUP_HOLDER
          value: $(JOB)/$(JOB_UID)
        {{- end }}
        {{- with $root.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $daemon }}
      ports:
        - name: status
          containerPort: 9464
      livenessProbe:
        httpGet:
          path: /livez
          port: status
        periodSeconds: 30
        timeoutSeconds: 5
        failureThreshold: 4
      readinessProbe:
        httpGet:
          path: /readyz
          port: status
        periodSeconds: 30
        timeoutSeconds: 5
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop:
            - ALL
      resources:
        {{- toYaml $root.Values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/asana-backup
          readOnly: true
        - name: secret
          mountPath: /run/secrets/asana-backup
          readOnly: true
        - name: spool
          mountPath: /spool
  volumes:
    - name: config
      configMap:
        name: {{ include "asana-backup.name" $root }}
    - name: secret
      secret:
        secretName: {{ $root.Values.existingSecret }}
        defaultMode: 0440
    - name: spool
      emptyDir:
        sizeLimit: {{ $root.Values.spool.sizeLimit }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
